#!/usr/bin/env python3
"""Kills rawcat at random moments and shows that the rerun ends as if nothing had happened.

    python3 tests/kill9.py target/release/rawcat sample_data/rawdata
    python3 tests/kill9.py BINARY SOURCE --day 2022-04-16 --to 2022-04-19
    python3 tests/kill9.py BINARY SOURCE --day 2022-04-18 --tz Asia/Seoul --kills 50 --seed 1 -- --by type

`rawcat fetch` runs once undisturbed into a fresh folder. Then, KILLS times, into another fresh folder: it is
started, killed with SIGKILL at a moment drawn uniformly over the undisturbed duration (in one round of five
twice in a row, so that a recovery is interrupted too), looked at, and run again to its end. After it:

- the exit code is that of the undisturbed run,
- every published file has the same bytes; the manifest without its object `run` is the same,
- nothing is left under `.rawcat/` (a lock file named by --may-remain apart).

Looked at after each kill: where a manifest is in place, the whole day must be (the manifest is the commit);
where none is, nothing but staging and files that a commit would have covered may lie there.
With --replacing OPTIONS every second round begins with the day already published, by `fetch` with those
options instead: then the old day or the new one must be whole after each kill, and the new one at the end.
What stands behind `--` is passed on to `rawcat fetch`. Standard library only.

Exit code 0: all rounds held. 1: a round did not, and its folder is kept and named. 2: usage.
"""

import argparse
import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path


class Failed(Exception):
    """A promise that a run broke."""


def command(args, out, options):
    return [
        str(args.binary), "fetch", "--source", str(args.source), "--out", str(out),
        *(["--day", args.day] if args.to is None else ["--from", args.day, "--to", args.to]),
        "--tz", args.tz, *options,
    ]


def environment():
    """No settings from outside: neither RAWCAT_… nor a user's own configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAWCAT_")}
    return {**kept, "NO_COLOR": "1"}


def start(args, folder, out, options):
    """Starts the run in `folder`, where no rawcat.toml is found upward; its messages go to a file there."""
    with open(folder / "messages.txt", "wb") as messages:
        return subprocess.Popen(command(args, out, options), cwd=folder, env=environment(), stdin=subprocess.DEVNULL, stdout=messages, stderr=messages)


def run_to_end(args, folder, options, limit_seconds):
    """(exit code, seconds) of an undisturbed run."""
    started = time.monotonic()
    process = start(args, folder, folder / "out", options)
    try:
        code = process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failed(f"a run did not end within {limit_seconds:.0f} s:\n{messages_of(folder)}") from None
    return code, time.monotonic() - started


def run_and_kill(args, folder, seconds):
    """True if the run was killed, False if it had ended before."""
    process = start(args, folder, folder / "out", args.extra)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def messages_of(folder):
    return (folder / "messages.txt").read_text(encoding="utf-8", errors="replace")[-2000:]


# ---------------------------------------------------------------- what lies in a folder


def without_run(data, path):
    try:
        manifest = json.loads(data)
    except ValueError as error:
        raise Failed(f"{path} is no JSON: {error}") from None
    if not isinstance(manifest, dict):
        raise Failed(f"{path} is no JSON object")
    manifest.pop("run", None)
    return json.dumps(manifest, sort_keys=True).encode()


def is_manifest(name):
    return name.endswith(".json") and (name.startswith("manifests/") or name.endswith("/manifest.json"))


def content(out):
    """{path: bytes} of everything published, manifests without `run`."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not name.startswith(".rawcat/"):
            data = path.read_bytes()
            found[name] = without_run(data, name) if is_manifest(name) else data
    return found


def left_over(args, out):
    """Everything under `.rawcat/` that may not remain."""
    staging = out / ".rawcat"
    names = [path.relative_to(out).as_posix() for path in sorted(staging.rglob("*"))]
    return [name for name in names if name.split("/", 1)[1] not in args.may_remain]


def compare(wanted, found):
    """Messages about the files that differ."""
    messages = [f"missing: {name}" for name in sorted(wanted.keys() - found.keys())]
    messages += [f"should not be there: {name}" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        if wanted[name] != found[name]:
            at = next((i for i, (a, b) in enumerate(zip(wanted[name], found[name])) if a != b), min(len(wanted[name]), len(found[name])))
            messages.append(f"differs: {name}, {len(wanted[name])} and {len(found[name])} bytes, first at byte {at}")
    return messages


def by_date(found):
    """{date: {path: bytes}}: each published path names its day."""
    days = {}
    for name, data in found.items():
        date = re.search(r"\d{4}-\d{2}-\d{2}", name)
        days.setdefault(date and date.group(), {})[name] = data
    return days


def look_after_kill(runs, out):
    """The promise to whoever reads the folder right now: of each day, that of one of `runs` is whole, or none is there.

    Returns whether any is.
    """
    found = by_date(content(out) if out.exists() else {})
    wanted = [by_date(run) for run in runs]
    whole = [look_at_day([run.get(date, {}) for run in wanted], found[date]) for date in found]
    return any(whole)


def look_at_day(days, found):
    """True where the day is one of `days`, whole; False where it has no manifest."""
    if any(is_manifest(name) for name in found):
        if found not in days:
            messages = compare(days[0], found)
            raise Failed("after the kill a manifest is in place, but the day is not whole:\n" + "\n".join(messages))
        return True
    strangers = sorted(found.keys() - {name for day in days for name in day})
    if strangers:
        raise Failed("after the kill these lie there, which no commit covers: " + ", ".join(strangers))
    return False


# ---------------------------------------------------------------- the rounds


def published_by(args, folder, options):
    """(exit code, seconds, content) of an undisturbed run with these options."""
    folder.mkdir()
    code, seconds = run_to_end(args, folder, options, args.max_seconds)
    if code not in (0, 3):
        raise Failed(f"the undisturbed run ended with exit code {code}:\n{messages_of(folder)}")
    left = left_over(args, folder / "out")
    if left:
        raise Failed("the undisturbed run left behind: " + ", ".join(left))
    found = content(folder / "out")
    if not any(map(is_manifest, found)):
        raise Failed("the undisturbed run published no manifest; it made: " + ", ".join(found))
    return code, seconds, found


def undisturbed(args, work):
    """(exit code, seconds, content) of the run that all others must equal; the shortest of three times."""
    runs = [published_by(args, work / f"undisturbed-{attempt}", args.extra) for attempt in range(3)]
    code, _, wanted = runs[0]
    for other, _, found in runs[1:]:
        messages = compare(wanted, found)
        if messages or other != code:
            raise Failed(f"two undisturbed runs differ (exit codes {code} and {other}):\n" + "\n".join(messages))
    return code, min(seconds for _, seconds, _ in runs), wanted


def one_round(args, rng, folder, duration, code, days):
    """One kill (or two) and the rerun; returns how many runs were killed, and whether a day was seen whole."""
    killed, whole = 0, False
    for _ in range(2 if rng.random() < 0.2 else 1):
        moment = rng.uniform(0, duration)
        try:
            killed += run_and_kill(args, folder, moment)
            whole = look_after_kill(days, folder / "out")
        except Failed as failed:
            raise Failed(f"killed after {moment * 1000:.1f} ms: {failed}") from None
    again, _ = run_to_end(args, folder, args.extra, max(30.0, 20 * duration))
    if again != code:
        raise Failed(f"killed after {moment * 1000:.1f} ms; the rerun ended with exit code {again} instead of {code}:\n{messages_of(folder)}")
    messages = compare(days[0], content(folder / "out"))
    messages += [f"left behind: {name}" for name in left_over(args, folder / "out")]
    if messages:
        raise Failed(f"killed after {moment * 1000:.1f} ms; after the rerun:\n" + "\n".join(messages))
    return killed, whole


def parse_args():
    argv, extra = sys.argv[1:], []
    if "--" in argv:
        at = argv.index("--")
        argv, extra = argv[:at], argv[at + 1:]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="Options of `rawcat fetch` may follow behind --. Exit codes: 0 held, 1 broken, 2 usage.")
    parser.add_argument("binary", type=Path, metavar="BINARY", help="the rawcat to run")
    parser.add_argument("source", metavar="SOURCE", help="a folder or an s3:// URL")
    parser.add_argument("--day", default="2022-04-18")
    parser.add_argument("--to", help="the last day, where several are made: --day is the first one then")
    parser.add_argument("--tz", default="Asia/Seoul")
    parser.add_argument("--kills", type=int, default=50, help="rounds (default: 50)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    parser.add_argument("--max-seconds", type=float, default=900, help="of the whole; later rounds are then left out and the exit code is 1 (default: 900)")
    parser.add_argument("--replacing", type=shlex.split, metavar="OPTIONS", help="every second round replaces a day published with these options of `fetch`, such as '--by ok'")
    parser.add_argument("--may-remain", action="append", default=[], metavar="NAME", help="a name below .rawcat/ that may remain, such as lock")
    args = parser.parse_args(argv)
    args.extra = extra
    args.binary = args.binary.resolve()
    if not os.access(args.binary, os.X_OK):
        parser.error(f"{args.binary} cannot be run")
    if "://" not in args.source:
        if not Path(args.source).is_dir():
            parser.error(f"no folder {args.source}")
        args.source = str(Path(args.source).resolve())
    if args.kills < 1:
        parser.error("--kills must be at least 1")
    return args


def main():
    args = parse_args()
    rng = random.Random(args.seed)
    work = Path(tempfile.mkdtemp(prefix="rawcat-kill9-"))
    began = time.monotonic()
    killed = published = done = 0
    folder = work
    try:
        code, duration, wanted = undisturbed(args, work)
        days = [wanted]
        if args.replacing is not None:
            days.append(published_by(args, work / "replaced", args.replacing)[2])
            if days[0] == days[1]:
                raise Failed("the options of --replacing publish the same day; choose others")
        for number in range(args.kills):
            if time.monotonic() - began > args.max_seconds:
                raise Failed(f"only {done} of {args.kills} rounds in {args.max_seconds:.0f} s; raise --max-seconds or lower --kills")
            folder = work / f"round-{number}"
            folder.mkdir()
            replaces = len(days) == 2 and number % 2 == 1
            if replaces:
                shutil.copytree(work / "replaced" / "out", folder / "out")
            kills, whole = one_round(args, rng, folder, duration, code, days if replaces else [wanted])
            killed, published, done = killed + kills, published + whole, done + 1
            shutil.rmtree(folder)
    except Failed as failed:
        print(f"round {done + 1}, seed {args.seed}: {failed}\nkept: {folder}", file=sys.stderr)
        print(f"kill9: failed after {done} of {args.kills} rounds")
        sys.exit(1)
    shutil.rmtree(work)
    print(
        f"kill9: {done} rounds held, {killed} kills within {duration * 1000:.0f} ms, after {published} the day was whole, "
        f"{len(wanted)} files compared byte for byte, exit code {code}, {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
