#!/usr/bin/env python3
"""Measures how rawcat scales, and says which limits hold.

    python3 benches/scale.py target/release/rawcat                   # a few minutes, 3 GB of disk
    python3 benches/scale.py target/release/rawcat --full            # the figures of the design, 16 GB of disk
    python3 benches/scale.py target/release/rawcat --only big columns --runs 5

linear    a day of ten times the bytes: at most 10.5 times as long, at most 20 % more memory
small     100,000 objects of 5 KB: at least 20,000 of them a second
start     `rawcat --version`, and `fetch` of an empty source: under 15 ms
keys      a group column of a million values: refused with a message; and what it takes when allowed
columns   5,000 columns, dense and sparse: bounded; more of them: refused with a message
big       one object of 2 GB (500 MB without --full), plain and gzip: under 400 MB of memory
wide      60 fields a record: under 250 MB of memory
hostile   records near the largest allowed, days that are bad all through, keys that are data in other days' records

Every figure is the median of --runs runs; runs of different cases take turns, because machines drift.
Processor time stands beside time, for machines that are shared.
Memory is the peak of the resident set. Data is generated into --work and kept there for the next time.
Exit code 0: all limits hold. 1: one does not. 2: usage. Standard library only.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GENERATOR = Path(__file__).with_name("gen_day.py")
# What the listing of the day reads: the hours of 2022-04-18 in Seoul, and one on either side.
HOURS = ["--first-hour", "2022-04-17T14", "--hours", "26"]
FETCH = ["fetch", "--day", "2022-04-18", "--tz", "Asia/Seoul", "--quiet"]
AGGREGATES = ["--export", "aggregates", "--by", "type", "--metric", "value"]
RECORDS = ["--export", "records"]


class Ran:
    def __init__(self, seconds, cpu_seconds, peak_mb, code, stderr):
        self.seconds, self.cpu_seconds, self.peak_mb = seconds, cpu_seconds, peak_mb
        self.code, self.stderr = code, stderr


def run(command):
    """Runs a command to its end and returns what it took."""
    with tempfile.TemporaryFile() as stderr:
        began = time.perf_counter()
        pid = os.posix_spawn(command[0], command, os.environ, file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, stderr.fileno(), 2),
        ])
        _, status, used = os.wait4(pid, 0)
        seconds = time.perf_counter() - began
        stderr.seek(0)
        said = stderr.read().decode(errors="replace")
    kilobytes = used.ru_maxrss / 1024 if sys.platform == "darwin" else used.ru_maxrss
    return Ran(seconds, used.ru_utime + used.ru_stime, kilobytes / 1024, os.waitstatus_to_exitcode(status), said)


class Bench:
    def __init__(self, args):
        self.rawcat, self.work, self.runs, self.full = str(args.rawcat), args.work, args.runs, args.full
        self.rows = []

    # ------------------------------------------------------------ data

    def made(self, name, make):
        """The folder `name` in the work folder, made once: a folder that is half made has another name."""
        folder = self.work / name
        if not folder.exists():
            half = self.work / f"{name}.half"
            shutil.rmtree(half, ignore_errors=True)
            print(f"making {name} …", file=sys.stderr)
            # In a process of its own: a child's peak memory begins with that of its parent.
            maker = multiprocessing.get_context("fork").Process(target=make, args=(half,))
            maker.start()
            maker.join()
            if maker.exitcode != 0:
                sys.exit(f"error: {name} could not be made")
            half.rename(folder)
        return folder / "rawdata"

    def day(self, name, *options):
        command = [sys.executable, str(GENERATOR)]
        return self.made(name, lambda folder: subprocess.run(
            [*command, str(folder), *options], check=True, stderr=subprocess.DEVNULL))

    def many_columns(self, name, columns, rows, objects, sparse):
        """Records whose keys are data: a few keys each of many, or all of them."""
        def make(folder):
            rng = random.Random(name)
            hour = folder / "rawdata/2022/04/17/16"
            hour.mkdir(parents=True)
            for number in range(objects):
                parts = []
                for row in range(rows // objects):
                    keys = rng.sample(range(columns), 3) if sparse else range(columns)
                    members = ",".join(f'"k{key}":{rng.randrange(100_000)}' for key in keys)
                    parts.append(f'{{"ts":"2022-04-17T16:{row % 60:02}:{number:02}Z",{members}}}')
                uuid = f"00000000-0000-4000-8000-{number:012}"
                (hour / f"study-stream-1-2022-04-17-16-{number:02}-00-{uuid}").write_text("".join(parts))
        return self.made(name, make)

    def objects(self, name, texts):
        """Objects of the hour 2022-04-17T16, each of one text."""
        def make(folder):
            hour = folder / "rawdata/2022/04/17/16"
            hour.mkdir(parents=True)
            for number, text in enumerate(texts()):
                uuid = f"00000000-0000-4000-8000-{number:012}"
                (hour / f"study-stream-1-2022-04-17-16-{number:02}-00-{uuid}").write_text(text)
        return self.made(name, make)

    # ------------------------------------------------------------ figures

    def fetches(self, cases, expect=0):
        """Runs {name: (source, options)} in turns; returns {name: [Ran, …]}."""
        taken = {name: [] for name in cases}
        for _ in range(self.runs):
            for name, (source, options) in cases.items():
                with tempfile.TemporaryDirectory(dir=self.work) as out:
                    ran = run([self.rawcat, *FETCH, "--source", str(source), "--out", out, *options])
                if ran.code != expect:
                    sys.exit(f"error: {name} ended with {ran.code} and not {expect}:\n{ran.stderr}")
                taken[name].append(ran)
        return taken

    def row(self, what, figure, unit, limit=None, at_least=False):
        holds = limit is None or (figure >= limit if at_least else figure <= limit)
        self.rows.append((what, figure, unit, limit, at_least, holds))
        print(self.line(*self.rows[-1]), flush=True)

    @staticmethod
    def line(what, figure, unit, limit, at_least, holds):
        digits = 2 if figure < 100 else 0
        bound = "" if limit is None else f"{'≥' if at_least else '≤'} {limit:,}"
        verdict = "" if limit is None else ("holds" if holds else "FAILS")
        return f"{what:<62} {figure:>10,.{digits}f} {unit:<10} {bound:<10} {verdict}"


def median(runs, of):
    return statistics.median(getattr(ran, of) for ran in runs)


def linear(bench):
    per_hour, mb = (6, 5.0) if bench.full else (6, 0.8)
    for packing in ["plain", "gzip"]:
        gzip = ["--gzip"] if packing == "gzip" else []
        days = {}
        for times in [1, 10]:
            name = f"linear-{packing}-{mb * per_hour * 26 * times:.0f}"
            size = ["--objects-per-hour", str(per_hour * times), "--mb-per-object", str(mb)]
            days[times] = bench.day(name, *HOURS, *size, *gzip)
        for export, options in [("aggregates", AGGREGATES), ("records", RECORDS)]:
            taken = bench.fetches({times: (source, options) for times, source in days.items()})
            what = f"ten times the bytes, {packing}, {export}"
            for times in days:
                bench.row(f"  {times} ×: seconds", median(taken[times], "seconds"), "s")
                bench.row(f"  {times} ×: memory", median(taken[times], "peak_mb"), "MB")
            ratio = lambda of: median(taken[10], of) / median(taken[1], of)
            bench.row(f"{what}: time", ratio("seconds"), "×", 10.5)
            bench.row(f"{what}: processor time", ratio("cpu_seconds"), "×")
            bench.row(f"{what}: memory", ratio("peak_mb"), "×", 1.2)


def small(bench):
    objects = 26 * 3847
    source = bench.day("small", *HOURS, "--objects-per-hour", "3847", "--mb-per-object", "0.005")
    taken = bench.fetches({"aggregates": (source, AGGREGATES), "records": (source, RECORDS)})
    for export, runs in taken.items():
        what = f"{objects:,} objects of 5 KB, {export}"
        bench.row(what, objects / median(runs, "seconds"), "objects/s", 20_000, at_least=True)
        bench.row(f"{what}: processor time", median(runs, "cpu_seconds") / objects * 1e6, "µs/object")
        bench.row(f"{what}: memory", median(runs, "peak_mb"), "MB", 250)


def start(bench):
    empty = bench.work / "empty"
    (empty / "2022/04/18/00").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bench.work) as out:
        # What a source without any object ends with is 1.
        commands = {
            "rawcat --version": ([bench.rawcat, "--version"], 0),
            "rawcat fetch, nothing there": ([bench.rawcat, *FETCH, "--source", str(empty), "--out", out], 1),
        }
        taken = {what: [] for what in commands}
        for _ in range(7 * bench.runs):
            for what, (command, expect) in commands.items():
                ran = run(command)
                if ran.code != expect:
                    sys.exit(f"error: {what} ended with {ran.code} and not {expect}:\n{ran.stderr}")
                taken[what].append(ran)
    for what, runs in taken.items():
        bench.row(what, median(runs, "seconds") * 1000, "ms", 15)
        bench.row(f"{what}: processor time", median(runs, "cpu_seconds") * 1000, "ms")


def keys(bench):
    source = bench.day("small", *HOURS, "--objects-per-hour", "3847", "--mb-per-object", "0.005")
    by = ["--export", "aggregates", "--by", "user_id", "--metric", "value"]
    refused = bench.fetches({"a": (source, by)}, expect=1)["a"]
    named = all("user_id" in ran.stderr and "--max-groups" in ran.stderr for ran in refused)
    bench.row("a million groups: refused, column and option named", float(named), "", 1, at_least=True)
    bench.row("a million groups, refused: memory", median(refused, "peak_mb"), "MB", 250)
    allowed = bench.fetches({"a": (source, [*by, "--max-groups", "2000000"])})["a"]
    bench.row("a million groups, allowed by --max-groups: memory", median(allowed, "peak_mb"), "MB")
    bench.row("a million groups, allowed by --max-groups", median(allowed, "seconds"), "s")


def columns(bench):
    rows = 540_000 if bench.full else 120_000
    cases = {
        "dense": bench.many_columns("columns-dense", 4_900, 3_000, 4, sparse=False),
        f"sparse, {rows:,} rows": bench.many_columns(f"columns-sparse-{rows}", 4_900, rows, 6, sparse=True),
    }
    taken = bench.fetches({what: (source, RECORDS) for what, source in cases.items()})
    for what, runs in taken.items():
        bench.row(f"4,900 columns, {what}: memory", median(runs, "peak_mb"), "MB", 750)
        bench.row(f"4,900 columns, {what}", median(runs, "seconds"), "s")
    source = bench.many_columns("columns-too-many", 20_000, 20_000, 2, sparse=True)
    refused = bench.fetches({"a": (source, RECORDS)}, expect=1)["a"]
    named = all("more than 5000 columns" in ran.stderr and "--type" in ran.stderr for ran in refused)
    bench.row("20,000 columns: refused, and what to do", float(named), "", 1, at_least=True)
    bench.row("20,000 columns, refused: memory", median(refused, "peak_mb"), "MB", 750)


def big(bench):
    mb = 2000 if bench.full else 500
    one = ["--first-hour", "2022-04-17T16", "--hours", "1", "--objects-per-hour", "1", "--mb-per-object", str(mb)]
    cases = {}
    for packing in ["plain", "gzip"]:
        source = bench.day(f"big-{packing}-{mb}", *one, *(["--gzip"] if packing == "gzip" else []))
        cases[f"{packing}, aggregates"] = (source, AGGREGATES)
        cases[f"{packing}, records"] = (source, RECORDS)
    for what, runs in bench.fetches(cases).items():
        bench.row(f"one object of {mb} MB, {what}: memory", median(runs, "peak_mb"), "MB", 400)
        bench.row(f"one object of {mb} MB, {what}", median(runs, "seconds"), "s")


def wide(bench):
    source = bench.day("wide", *HOURS, "--shape", "wide")
    for what, runs in bench.fetches({"aggregates": (source, AGGREGATES), "records": (source, RECORDS)}).items():
        bench.row(f"records of 60 fields, {what}: memory", median(runs, "peak_mb"), "MB", 250)
        bench.row(f"records of 60 fields, {what}", median(runs, "seconds"), "s")


def hostile(bench):
    def texts(items, pad):
        record = '{"ts":"2022-04-17T16:00:00Z","pad":[' + ",".join(["1234567"] * pad) + "]}"
        return lambda: (record * (items // 8) for _ in range(8))
    # 117 MB each.
    long = bench.objects("long-records", texts(8, 1_830_000))
    short = bench.objects("short-records", texts(8_000, 1_830))
    aggregates = ["--export", "aggregates"]
    taken = bench.fetches({"long": (long, aggregates), "short": (short, aggregates)})
    long_s, short_s = (median(taken[what], "cpu_seconds") for what in ["long", "short"])
    bench.row("records of 14 MB beside records of 14 KB: processor time", long_s / short_s, "×", 4)
    bench.row("records of 14 MB: memory", median(taken["long"], "peak_mb"), "MB", 400)

    bad = '{"ts":"2022-04-17T16:00:00Z","a":"\\ud800' + "x" * 1500 + '"}'
    source = bench.objects("quarantined", lambda: (bad * 10_000 for _ in range(40)))
    ran = bench.fetches({"a": (source, aggregates)}, expect=3)["a"]
    bench.row("600 MB of bad records: memory", median(ran, "peak_mb"), "MB", 400)

    rng = random.Random("keys")
    def elsewhen():
        for _ in range(8):
            yield "".join(f'{{"ts":"2022-04-10T00:00:00Z","{rng.getrandbits(64):x}":1}}' for _ in range(250_000))
    source = bench.objects("keys-of-other-days", elsewhen)
    ran = bench.fetches({"a": (source, aggregates)})["a"]
    bench.row("2,000,000 keys in records of other days: memory", median(ran, "peak_mb"), "MB", 250)


CASES = {case.__name__: case for case in [start, small, linear, keys, columns, big, wide, hostile]}


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("rawcat", type=Path, metavar="RAWCAT", help="an optimised build")
    parser.add_argument("--work", type=Path, default=Path("target/scale"), help="a folder for generated days and outputs")
    parser.add_argument("--full", action="store_true", help="the sizes of the design")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=" ".join(CASES))
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--clean", action="store_true", help="remove the work folder at the end")
    args = parser.parse_args()
    args.rawcat = args.rawcat.resolve()
    if not args.rawcat.is_file():
        parser.error(f"{args.rawcat} is no file; build it with `cargo build --release`")
    if args.runs < 1:
        parser.error("--runs must be at least 1")
    return args


def main():
    args = parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    args.work = args.work.resolve()
    bench = Bench(args)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; medians of {args.runs} runs")
    if os.getloadavg()[0] > os.cpu_count() / 2:
        print("others are busy on this machine: times are not to be trusted, processor times are nearly")
    for name in args.only:
        CASES[name](bench)
    if args.clean:
        shutil.rmtree(args.work)
    failed = [row for row in bench.rows if not row[-1]]
    limits = [row for row in bench.rows if row[3] is not None]
    print(f"\n{len(limits) - len(failed)} of {len(limits)} limits hold" + (":" if failed else ""))
    for row in failed:
        print("  " + bench.line(*row))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
