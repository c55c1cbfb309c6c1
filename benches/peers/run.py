#!/usr/bin/env python3
"""Checks rawcat's claim about speed: rawcat, DuckDB and ClickHouse do the same jobs on the same days, in turn.

    python3 benches/peers/run.py                                                     # everything, about half an hour
    python3 benches/peers/run.py --only aggregates --shape narrow --runs 3           # a short look
    python3 benches/peers/run.py --s3                                                # rawcat against plain GETs

Needs cargo (or --rawcat) and Python 3.9 or later with venv; the days (1.9 GB), an environment with the peers' packages
(requirements.txt, 1 GB) and what is written go to the work folder, and are used again. README.md beside this file says
what is measured and how. Exit code 0: measured, and all answers agree. 1: answers differ, or a program failed. 2: usage, or
something is missing. 130: interrupted.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

# Nothing of the peers is imported here. Linux counts what a parent held towards its child's peak memory, so this process
# stays small; checks run in a process of their own.

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
GENERATOR = REPOSITORY / "benches" / "gen_day.py"
REQUIREMENTS = HERE / "requirements.txt"

DAY, ZONE = "2022-04-18", "Asia/Seoul"
# The day's hours in UTC, the hour that rawcat looks at on either side, and one more that nobody should touch.
FIRST_HOUR, HOURS = "2022-04-17T13", 28
READ_HOURS = [f"2022/04/17/{hour:02d}" for hour in range(14, 24)] + [f"2022/04/18/{hour:02d}" for hour in range(16)]
FETCH = ["--day", DAY, "--tz", ZONE, "--by", "type", "--metric", "value", "--quiet"]

SHAPES, COMPRESSIONS, JOBS = ["narrow", "wide"], ["plain", "gzip"], ["aggregates", "records"]
RAWCAT, DUCKDB, CLICKHOUSE, GETS = "rawcat", "DuckDB", "ClickHouse", "plain GETs"
PEERS = {DUCKDB: "duckdb_job.py", CLICKHOUSE: "clickhouse_job.py"}
TITLES = {"aggregates": "hourly aggregates by type", "records": "all columns to zstd Parquet"}


class Failure(Exception):
    """What ends a run; `code` is the exit code."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


def say(message=""):
    print(message, file=sys.stderr, flush=True)


# ---------------------------------------------------------------- what must be there


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target").resolve()


def cargo(*args):
    if not shutil.which("cargo"):
        raise Failure("cargo is missing: install Rust from https://rustup.rs, or give --rawcat", 2)
    if subprocess.run(["cargo", "build", "--release", "--locked", *args], cwd=REPOSITORY).returncode:
        raise Failure("cargo build failed", 2)


def rawcat_binary(given):
    """The binary that is measured. Without --rawcat it is built, which takes a second where nothing changed."""
    if given:
        binary = given.resolve()
    else:
        say("building rawcat (about 15 minutes the first time)")
        cargo("--bin", "rawcat")
        binary = target_folder() / "release" / "rawcat"
    if not os.access(binary, os.X_OK):
        raise Failure(f"{binary} is no program", 2)
    return binary


def s3_binary():
    say("building both ends of the loopback S3 (about 2 minutes the first time)")
    cargo("--package", "bench-s3")
    return target_folder() / "release" / "bench-s3"


def environment(folder):
    """A Python with the peers' packages, of the versions in requirements.txt."""
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    wanted = REQUIREMENTS.read_text()
    if not (python.exists() and installed.exists() and installed.read_text() == wanted):
        say(f"installing {', '.join(wanted.split())} into {folder}, once")
        if not python.exists() and subprocess.run([sys.executable, "-m", "venv", folder]).returncode:
            raise Failure("python3 -m venv does not work; on Debian: apt-get install python3-venv", 2)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS]
        if subprocess.run(pip).returncode:
            raise Failure("pip could not install the peers' packages", 2)
        installed.write_text(wanted)
    return python


def generated_day(args, shape, compression):
    """The folder of a day; made now unless this very generator made it before with the same options."""
    options = ["--shape", shape, "--objects-per-hour", args.objects_per_hour, "--mb-per-object", args.mb_per_object]
    options += ["--first-hour", FIRST_HOUR, "--hours", HOURS] + (["--gzip"] if compression == "gzip" else [])
    options = [str(option) for option in options]
    stamp = json.dumps({"generator": hashlib.sha256(GENERATOR.read_bytes()).hexdigest(), "options": options})
    size = f"{args.objects_per_hour}x{round(args.mb_per_object * 1000)}kb"
    folder = args.work / "days" / "-".join([shape, size, compression])
    if not ((folder / "made.json").exists() and (folder / "made.json").read_text() == stamp):
        say(f"generating {folder}")
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if subprocess.run([sys.executable, GENERATOR, folder, *options]).returncode:
            raise Failure("the generator failed")
        (folder / "made.json").write_text(stamp)
    return folder


def objects_read(day):
    return [path for hour in READ_HOURS for path in sorted((day / "rawdata" / hour).iterdir())]


# ---------------------------------------------------------------- one process


def clean_environment(work):
    """Settings of whoever runs this must not decide what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAWCAT_", "AWS_", "PYTHON"))}
    empty = work / "empty"
    empty.mkdir(parents=True, exist_ok=True)
    return {**kept, "XDG_CONFIG_HOME": str(empty), "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def measure(args, command, cores=None, stdin=None):
    """Runs a command as a process of its own: {wall_s, cpu_s, peak_mb, output}. `cores` is a set of CPU numbers."""
    keep_to = (lambda: os.sched_setaffinity(0, cores)) if cores else None
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        command = [str(word) for word in command]
        with open(stdin or os.devnull, "rb") as source:
            begin = time.perf_counter()
            # Not in the repository: its rawcat.toml is for the sample.
            process = subprocess.Popen(command, cwd="/", env=args.env, stdin=source, stdout=out, stderr=errors, preexec_fn=keep_to)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            text = errors.read().decode(errors="replace").strip()[-2000:]
            raise Failure(f"exit code {process.returncode} of {shlex.join(command)}\n{text}")
        out.seek(0)
        unit = 1 if sys.platform == "darwin" else 1024
        return {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss * unit / 1e6, "output": out.read().decode()}


def some_cores(threads):
    """As many of this machine's cores as threads are measured, where a process can be kept on them."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return set(allowed[:threads]) if threads < len(allowed) else None


def warm(paths):
    """Reads files into the page cache."""
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


# ---------------------------------------------------------------- the programs


def fetch(args, source, out, job, *options):
    return [args.rawcat, "fetch", "--source", source, "--out", out, "--export", job, *FETCH, "--jobs", args.threads, *options]


def published(out, job):
    folder = out / ("records" if job == "records" else "aggregates/hourly") / f"local_date={DAY}"
    files = sorted(folder.glob("*.parquet"))
    if len(files) != 1:
        raise Failure(f"{len(files)} files in {folder}, not one")
    return files[0]


def read_whole_day(out, objects):
    """rawcat's own books: it read the objects that the others read, and quarantined nothing."""
    manifest = json.loads((out / "manifests" / f"{DAY}.json").read_text())
    read = sum(prefix["objects"] for prefix in manifest["listing"]["prefixes"])
    if read != len(objects):
        raise Failure(f"rawcat listed {read} objects, the others read {len(objects)}")


def one_run(args, name, job, shape, day, objects, round_name):
    """Runs one program once: (what was measured, the file it wrote)."""
    out = args.work / "out" / f"{name}-{round_name}"
    shutil.rmtree(out, ignore_errors=True)
    if name == RAWCAT:
        measured = measure(args, fetch(args, day / "rawdata", out, job), args.cores)
        read_whole_day(out, objects)
        file = published(out, job)
    else:
        out.mkdir(parents=True)
        file = out / f"{job}.parquet"
        command = [args.python, "-E", "-s", HERE / PEERS[name], job, shape, day, file, args.threads]
        measured = measure(args, command, args.cores)
    measured["file_bytes"] = file.stat().st_size
    return measured, file


def check(args, job, files, all_columns=False):
    """The number of records and a digest of them; a failure where the programs' answers differ."""
    command = [args.python, HERE / "check.py", job, *(["--all-columns"] if all_columns else [])]
    command += [f"{name}={path}" for name, path in files.items()]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=HERE, env=args.env)
    if done.returncode:
        raise Failure(f"the answers differ ({job}, {', '.join(files)}):\n{done.stderr.strip()}")
    return json.loads(done.stdout)


def in_turn(args, shape, compression, job, day):
    """One row: a round that is not counted and whose files are compared whole, then --runs rounds, each checked."""
    objects = objects_read(day)
    warm(objects)
    runs = {name: [] for name in [RAWCAT, *PEERS]}
    answer = None
    for number in range(args.runs + 1):
        files = {}
        for name in runs:
            measured, files[name] = one_run(args, name, job, shape, day, objects, number)
            if number:
                runs[name].append(measured)
        answer = check(args, job, files, all_columns=number == 0)
        shutil.rmtree(args.work / "out")
        shown = ", ".join(f"{name} {runs[name][-1]['wall_s']:.2f} s" for name in runs) if number else "the answers agree"
        say(f"{shape}, {compression}, {job}, " + (f"round {number} of {args.runs}: {shown}" if number else f"not counted: {shown}"))
    return {"shape": shape, "compression": compression, "job": job, "objects": len(objects), "runs": runs, **answer,
            "bytes": sum(path.stat().st_size for path in objects)}


# ---------------------------------------------------------------- S3 on loopback


class Server:
    """`bench-s3 serve`: folders below a root as buckets, over a link of `gbit` Gbit/s (0: no limit)."""

    def __init__(self, args, root, gbit):
        self.process = subprocess.Popen([args.s3_binary, "serve", root, *([str(gbit)] if gbit else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=args.env)
        self.endpoint = self.process.stdout.readline().strip()
        if not self.endpoint:
            raise Failure("the S3 server did not start")

    def cpu_s(self):
        """CPU seconds so far, or None where /proc is missing."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def measure(self, args, *rest, **options):
        before = self.cpu_s()
        measured = measure(args, *rest, **options)
        measured["server_cpu_s"] = None if before is None else self.cpu_s() - before
        return measured

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def file_digest(path):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def link_name(gbit):
    return f"{gbit:g} Gbit/s" if gbit else "no limit"


def against_gets(args, compression, day, server, gbit):
    """Rounds of: plain GETs of the day's objects, then each job of rawcat from the same server, checked against a folder's."""
    objects = objects_read(day)
    keys = args.work / "keys.txt"
    keys.write_text("".join(f"/{path.relative_to(day.parent).as_posix()}\n" for path in objects))
    size = sum(path.stat().st_size for path in objects)
    options = ["--endpoint-url", server.endpoint, "--no-sign-request", "--region", "us-east-1", "--max-requests", args.max_requests]
    from_folder = {job: file_digest(one_run(args, RAWCAT, job, "narrow", day, objects, f"folder-{job}")[1]) for job in args.only}
    runs = {name: [] for name in [GETS, *args.only]}
    for number in range(args.runs + 1):
        gets = server.measure(args, [args.s3_binary, "get", server.endpoint, args.max_requests], stdin=keys)
        if int(gets["output"]) != size:
            raise Failure(f"plain GETs read {gets['output'].strip()} bytes, not {size}")
        done = {GETS: gets}
        for job in args.only:
            out = args.work / "out" / f"s3-{job}"
            shutil.rmtree(out, ignore_errors=True)
            done[job] = server.measure(args, fetch(args, f"s3://{day.name}/rawdata/", out, job, *options))
            read_whole_day(out, objects)
            if file_digest(published(out, job)) != from_folder[job]:
                raise Failure(f"{job} from S3 are not what they are from the folder ({compression})")
        shutil.rmtree(args.work / "out")
        if number:
            for name, measured in done.items():
                runs[name].append(measured)
            say(f"S3, {link_name(gbit)}, {compression}, round {number} of {args.runs}: " + ", ".join(f"{name} {measured['wall_s']:.2f} s" for name, measured in done.items()))
    return {"compression": compression, "gbit": gbit, "objects": len(objects), "bytes": size, "runs": runs}


# ---------------------------------------------------------------- tables


def median(runs, what):
    return statistics.median(run[what] for run in runs)


def spread(values, digits=2):
    return f"{min(values):.{digits}f}–{max(values):.{digits}f}"


def ratios(runs, over, under):
    return [one["wall_s"] / other["wall_s"] for one, other in zip(runs[over], runs[under])]


def faster_peer(runs):
    return min(PEERS, key=lambda name: median(runs[name], "wall_s"))


def ratio(row):
    """(how many times as fast as the faster peer, the same round by round, its name)."""
    peer = faster_peer(row["runs"])
    of_medians = median(row["runs"][peer], "wall_s") / median(row["runs"][RAWCAT], "wall_s")
    return of_medians, ratios(row["runs"], peer, RAWCAT), peer


def text_table(rows, s3_rows):
    lines = []
    for row in rows:
        lines.append(f"\n{row['shape']}, {row['compression']}: {TITLES[row['job']]}, of {row['bytes'] / 1e6:,.0f} MB in {row['objects']} objects, {row['records']:,} records of the day")
        lines.append(f"  {'':10} {'median':>8}  {'min–max':>13}  {'CPU':>8}  {'peak memory':>11}" + (f"  {'file':>9}" if row["job"] == "records" else ""))
        for name, runs in row["runs"].items():
            line = f"  {name:10} {median(runs, 'wall_s'):6.2f} s  {spread([run['wall_s'] for run in runs]):>11} s  {median(runs, 'cpu_s'):6.2f} s  {median(runs, 'peak_mb'):8.0f} MB"
            lines.append(line + (f"  {median(runs, 'file_bytes') / 1e6:6.1f} MB" if row["job"] == "records" else ""))
        times, by_round, peer = ratio(row)
        lines.append(f"  rawcat is {times:.2f} × as fast as {peer} ({spread(by_round)} by round)")
    for row in s3_rows:
        lines.append(f"\nS3 on loopback, {link_name(row['gbit'])}, {row['compression']}: {row['bytes'] / 1e6:,.0f} MB in {row['objects']} objects")
        lines.append(f"  {'':19} {'median':>8}  {'min–max':>13}  {'CPU':>8}  {'server CPU':>10}  {'peak memory':>11}  wall ÷ {GETS}")
        for name, runs in row["runs"].items():
            title = name if name == GETS else f"{RAWCAT}, {name}"
            server = "?" if runs[0]["server_cpu_s"] is None else f"{median(runs, 'server_cpu_s'):.2f} s"
            by_round = "" if name == GETS else f"  {median(runs, 'wall_s') / median(row['runs'][GETS], 'wall_s'):.2f} ({spread(ratios(row['runs'], name, GETS))} by round)"
            lines.append(f"  {title:19} {median(runs, 'wall_s'):6.2f} s  {spread([run['wall_s'] for run in runs]):>11} s  {median(runs, 'cpu_s'):6.2f} s  {server:>10}  {median(runs, 'peak_mb'):8.0f} MB{by_round}")
        lines += shared_cores(row)
    return lines


def shared_cores(row):
    """What the machine was busy with during the plain GETs: they are a network's limit only where the server was not."""
    runs = row["runs"][GETS]
    if runs[0]["server_cpu_s"] is None:
        return []
    cores = len(os.sched_getaffinity(0))
    server, client, wall = median(runs, "server_cpu_s"), median(runs, "cpu_s"), median(runs, "wall_s")
    share = server / (wall * cores)
    lines = [f"  plain GETs: {row['bytes'] / 1e9 / wall:.2f} GB/s ({row['bytes'] * 8 / 1e9 / wall:.0f} Gbit/s); of {cores} cores the server had {share:.0%}, the client {client / (wall * cores):.0%}"]
    if share > 0.2:
        lines.append("  the server took cores that rawcat would have for itself if it were elsewhere; and no machine of so few cores has such a network")
    return lines


def markdown_table(rows, s3_rows, versions):
    lines = []
    if rows:
        lines.append(f"| | rawcat | DuckDB {versions[DUCKDB]} | ClickHouse {versions[CLICKHOUSE]} | rawcat is |")
        lines.append("|---|---|---|---|---|")
    for row in rows:
        cells = []
        for runs in row["runs"].values():
            file = f", file {median(runs, 'file_bytes') / 1e6:.0f} MB" if row["job"] == "records" else ""
            cells.append(f"{median(runs, 'wall_s'):.2f} s, {median(runs, 'peak_mb'):.0f} MB{file}")
        times, _, peer = ratio(row)
        lines.append(f"| {row['shape']}, {row['compression']}: {TITLES[row['job']]} | {' | '.join(cells)} | **{times:.1f} ×** as fast as {peer} |")
    if s3_rows:
        lines += ["", "| S3 on loopback | plain GETs | " + " | ".join(f"rawcat, {TITLES[job]}" for job in s3_rows[0]["runs"] if job != GETS) + " |"]
        lines.append("|---" * (1 + len(s3_rows[0]["runs"])) + "|")
        for row in s3_rows:
            limit = median(row["runs"][GETS], "wall_s")
            cells = [f"{median(runs, 'wall_s'):.2f} s" + ("" if name == GETS else f", {median(runs, 'wall_s') / limit:.2f} × the GETs") for name, runs in row["runs"].items()]
            lines.append(f"| {link_name(row['gbit'])}, {row['compression']} | {' | '.join(cells)} |")
    return lines


# ---------------------------------------------------------------- the machine


def machine():
    cpu, memory = platform.processor() or platform.machine(), None
    try:
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (OSError, ValueError):
        pass
    parts = [cpu, f"{os.cpu_count()} cores", f"{memory:.0f} GiB" if memory else "", platform.platform()]
    return ", ".join(part for part in parts if part)


def output_of(args, command):
    return measure(args, command)["output"].strip()


def what_is_compared(args):
    versions = {RAWCAT: output_of(args, [args.rawcat, "--version"]).removeprefix("rawcat ").splitlines()[0]}
    if args.python:
        versions.update({name: output_of(args, [args.python, "-E", "-s", HERE / script, "--version"]) for name, script in PEERS.items()})
    return versions


def starting_up(args):
    """Wall time of each program that does nothing: how much of its time is not the job's."""
    commands = {RAWCAT: [args.rawcat, "--version"], **{name: [args.python, "-E", "-s", HERE / script, "--version"] for name, script in PEERS.items()}}
    return {name: statistics.median(measure(args, command, args.cores)["wall_s"] for _ in range(5)) for name, command in commands.items()}


# ---------------------------------------------------------------- the command


def positive(kind):
    def parse(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value
    return parse


def parse_args():
    class Help(argparse.ArgumentDefaultsHelpFormatter):
        """Says the default where there is one."""

        def _get_help_string(self, action):
            return action.help if action.default in (None, False) else super()._get_help_string(action)

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=Help)
    rows = parser.add_argument_group("which rows")
    rows.add_argument("--only", choices=JOBS, action="append", help="one of the jobs; may be repeated (default: both)")
    rows.add_argument("--shape", choices=SHAPES, action="append", help="one of the shapes; may be repeated (default: both; with --s3 it is narrow)")
    rows.add_argument("--compression", choices=COMPRESSIONS, action="append", help="one of the two; may be repeated (default: both)")
    rows.add_argument("--s3", action="store_true", help="rawcat from an S3 server on this machine, against plain GETs; needs no peers")
    how = parser.add_argument_group("how")
    how.add_argument("--runs", type=positive(int), default=5, help="rounds that are counted")
    how.add_argument("--threads", type=positive(int), default=min(2, os.cpu_count() or 1), help="threads for each program, which is kept on as many cores")
    how.add_argument("--max-requests", type=positive(int), default=16, help="with --s3: requests in flight, of rawcat and of the plain GETs (16 is rawcat's default)")
    how.add_argument("--gbit", type=float, action="append", help="with --s3: the speed of the link, 0 for none; may be repeated (default: 0, 10 and 1)")
    how.add_argument("--objects-per-hour", type=positive(int), default=6, help="of the generated days")
    how.add_argument("--mb-per-object", type=positive(float), default=5.0, help="of the generated days, decoded, in 10^6 bytes")
    where = parser.add_argument_group("where")
    where.add_argument("--rawcat", type=Path, help="a binary to measure (default: this clone, built with cargo build --release)")
    where.add_argument("--work", type=Path, default=target_folder() / "bench-peers", help="days, the peers' environment, results")
    where.add_argument("--venv", type=Path, help="an environment of Python to make or to use (default: venv in the work folder)")
    where.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    args = parser.parse_args()
    args.only, args.compression = args.only or JOBS, args.compression or COMPRESSIONS
    args.only = [job for job in JOBS if job in args.only]
    args.shape = [shape for shape in SHAPES if shape in (args.shape or SHAPES)]
    args.gbit = [0, 10, 1] if args.gbit is None else args.gbit
    if args.s3 and args.shape == ["wide"]:
        parser.error("--s3 measures the narrow shape")
    args.work = args.work.resolve()
    args.venv = (args.venv or args.work / "venv").absolute()
    args.cores = some_cores(args.threads)
    return args


def run(args):
    args.work.mkdir(parents=True, exist_ok=True)
    args.env = clean_environment(args.work)
    args.rawcat = rawcat_binary(args.rawcat)
    args.python = None if args.s3 else environment(args.venv)
    args.s3_binary = s3_binary() if args.s3 else None
    shutil.rmtree(args.work / "out", ignore_errors=True)
    shapes = ["narrow"] if args.s3 else args.shape
    days = {(shape, compression): generated_day(args, shape, compression) for shape in shapes for compression in args.compression}
    report = {
        "command": "python3 " + shlex.join([os.path.relpath(__file__), *sys.argv[1:]]), "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine(), "threads": args.threads, "runs": args.runs, "versions": what_is_compared(args),
        "load_before": os.getloadavg()[0], "rows": [], "s3": [],
    }
    if args.s3:
        for gbit in args.gbit:
            server = Server(args, args.work / "days", gbit)
            try:
                report["s3"] += [against_gets(args, compression, days["narrow", compression], server, gbit) for compression in args.compression]
            finally:
                server.stop()
        return report
    report["starting_up_s"] = starting_up(args)
    digests = {}
    for (shape, compression), day in days.items():
        for job in args.only:
            row = in_turn(args, shape, compression, job, day)
            report["rows"].append(row)
            if digests.setdefault(shape, row["digest"]) != row["digest"]:
                raise Failure(f"the records of {shape} by hour and type are others in {job} of {compression} than in the row before")
    return report


def show(args, report):
    print(report["machine"])
    print(", ".join(f"{name} {version}" for name, version in report["versions"].items()) + f"; {report['threads']} threads each, medians of {report['runs']} runs in turn, whole processes, warm page cache")
    print(f"{report['date']}: {report['command']}")
    if "starting_up_s" in report:
        print("starting up, in each time below: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in report["starting_up_s"].items()))
    if report["load_before"] > 0.5:
        print(f"the machine was busy before the first run (load {report['load_before']:.1f}): only the ratios say something, and those roughly")
    print("\n".join(markdown_table(report["rows"], report["s3"], report["versions"]) if args.markdown else text_table(report["rows"], report["s3"])))


def main():
    args = parse_args()
    try:
        report = run(args)
    except Failure as failure:
        say(f"error: {failure}")
        sys.exit(failure.code)
    except KeyboardInterrupt:
        sys.exit(130)
    results = args.work / ("results-s3.json" if args.s3 else "results.json")
    results.write_text(json.dumps(report, indent=1))
    show(args, report)
    say(f"\nevery run's figures are in {results}")


if __name__ == "__main__":
    main()
