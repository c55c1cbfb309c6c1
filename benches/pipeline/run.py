#!/usr/bin/env python3
"""Measures `rawcat pipeline`: a million rows there and back, requests a second beside other Kinesis stand-ins, and slow clients.

    python3 benches/pipeline/run.py                              # everything, about 12 minutes
    python3 benches/pipeline/run.py --only round-trip --rows 100000
    python3 benches/pipeline/run.py --only ingest --seconds 5 --runs 1
    python3 benches/pipeline/run.py --rawcat target/release/rawcat

In go cargo (or --rawcat), wrk and slowhttptest (Debian packages of these names), node and npm for kinesis-local, and Python 3.11
or later with venv; packages of pinned versions are installed into the work folder (--work), once. What is missing is named, and
its part left out. Out come tables in Markdown, and results.json in the work folder. README.md beside this file says what is
measured and how. All traffic stays on this machine, and all loops end.

Exit code 0: measured, and every record that was acknowledged was delivered once. 1: not so, or others had to wait for slow
clients. 2: usage, or something is missing. 130: interrupted.
"""

import argparse
import json
import os
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from http.client import HTTPConnection, HTTPException
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))
import slow_clients  # noqa: E402
from local_pipeline import Failed, Pipeline, call, environment, objects, run  # noqa: E402

PARTS = ["round-trip", "ingest", "slow"]
KINESIS_LOCAL = "kinesis-local@0.6.2"
STREAM, SHARDS = "rawcat-stream", 4
START_SECONDS = 60
WARM_SECONDS = 2


def say(message=""):
    print(message, file=sys.stderr, flush=True)


class Missing(Exception):
    """What can't be measured here, and what to install."""


# ---------------------------------------------------------------- what must be there


def rawcat_binary(given):
    if given is None:
        if not shutil.which("cargo"):
            raise Missing("cargo is missing: install Rust from https://rustup.rs, or give --rawcat")
        say("building rawcat (about 15 minutes the first time)")
        if subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "rawcat"], cwd=REPOSITORY).returncode:
            raise Missing("cargo build failed")
        given = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "release/rawcat"
    if not os.access(given, os.X_OK):
        raise Missing(f"{given} is no program")
    return given.resolve()


def program(name):
    if not shutil.which(name):
        raise Missing(f"{name} is missing; on Debian: apt-get install {name}")
    return name


def python_with_packages(work):
    folder, wanted = work / "venv", (HERE / "requirements.txt").read_text()
    python, installed = folder / "bin/python", folder / "installed.txt"
    if not (installed.exists() and installed.read_text() == wanted):
        say(f"installing {', '.join(wanted.split())} into {folder}, once")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", HERE / "requirements.txt"], check=True)
        installed.write_text(wanted)
    return python


def kinesis_local(work):
    """The folder of the package."""
    folder = work / "npm"
    package = folder / "node_modules/kinesis-local"
    if not package.is_dir():
        program("npm")
        say(f"installing {KINESIS_LOCAL} into {folder}, once")
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, KINESIS_LOCAL], check=True)
    program("node")
    return package


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


# ---------------------------------------------------------------- there and back


def make_rows(path, count):
    """A CSV of `count` different rows, some 100 bytes each."""
    draw = random.Random("rawcat pipeline bench 1")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write("n,code,type,value,lat,lon,memo\n")
        for number in range(count):
            kind = ("소음", "주차", "택배", "관리비")[number % 4]
            memo = '"쉼표, 따옴표 """' if number % 50 == 0 else "여우비뜰 101동"
            file.write(f"{number},{number * 37 % 10**8:08d},{kind},{draw.random() * 100:.1f},37.{draw.randrange(10**6):06d},127.{draw.randrange(10**6):06d},{memo}\n")


COMPARE = """
import sys, duckdb
rows, parquet = sys.argv[1:]
columns = "n, code, type, value, lat, lon, memo"
sent = f"select {columns} from read_csv('{rows}', all_varchar = true, header = true, delim = ',')"
back = f"select {columns} from read_parquet('{parquet}')"
count = lambda query: duckdb.sql(f"select count(*) from ({query})").fetchall()[0][0]
print(count(sent), count(back), count(f"({sent}) except all ({back})"), count(f"({back}) except all ({sent})"))
"""


def round_trip(args, binary):
    """send → pipeline → fetch, and whether what comes back is what was sent."""
    python = python_with_packages(args.work)
    rows = args.work / f"rows-{args.rows}.csv"
    if not rows.exists():
        make_rows(rows, args.rows)
    folder = Path(tempfile.mkdtemp(prefix="round-trip-", dir=args.work))
    began_day = datetime.now(timezone.utc)
    with Pipeline(binary, folder, "--compression", "gzip") as pipeline:
        began = time.monotonic()
        report = run(binary, folder, "send", "--file", rows, "--url", pipeline.url, "--concurrency", "64", seconds=3600)
        sent_seconds = time.monotonic() - began
        ending = pipeline.end()
    days = ["--from", f"{began_day:%Y-%m-%d}", "--to", f"{datetime.now(timezone.utc):%Y-%m-%d}", "--tz", "UTC"]
    began = time.monotonic()
    run(binary, folder, "fetch", "--quiet", "--source", "rawdata", "--out", "out", "--export", "records", *days)
    fetch_seconds = time.monotonic() - began
    compared = subprocess.run([python, "-c", COMPARE, rows, folder / "out/records/*/*.parquet"], capture_output=True, text=True, check=False)
    if compared.returncode:
        raise Failed(f"rows and Parquet can't be compared:\n{compared.stderr[-2000:]}")
    sent, back, lost, strange = map(int, compared.stdout.split())
    latency = dict(re.findall(r"(p\d\d) ([\d.]+) ms", report))
    failed = int(re.search(r"^failed\s+([\d,]+)", report, re.MULTILINE).group(1).replace(",", ""))
    result = {
        "rows": sent, "back": back, "lost": lost, "strange": strange, "failed": failed, "send_seconds": sent_seconds,
        "rows_a_second": sent / sent_seconds, "latency_ms": latency, "end_seconds": ending, "fetch_seconds": fetch_seconds,
        "objects": len(objects(folder / "rawdata")),
    }
    if failed or lost or strange or sent != back:
        raise Failed(f"what came back is not what was sent: {result}; kept: {folder}")
    shutil.rmtree(folder)
    print("\n| rows | by `send` | rows a second | p50 | p95 | p99 | Ctrl-C took | `fetch` took | objects | lost, or twice |\n|---|---|---|---|---|---|---|---|---|---|")
    print(
        f"| {sent:,} | {sent_seconds:.1f} s | {result['rows_a_second']:,.0f} | {latency['p50']} ms | {latency['p95']} ms | {latency['p99']} ms "
        f"| {ending:.1f} s | {fetch_seconds:.1f} s | {result['objects']} | {lost + strange} |", flush=True,
    )
    return result


# ---------------------------------------------------------------- requests a second


class RawcatGateway:
    """A POST of the record."""

    name = "rawcat, HTTP"
    way = ["http"]
    path = "/PROD/v1"

    def __init__(self, args, binary):
        self.binary = binary
        self.folder = Path(tempfile.mkdtemp(prefix="ingest-", dir=args.work))
        self.pipeline = Pipeline(binary, self.folder, "--stream", STREAM, "--shards", SHARDS, "--newline")
        self.endpoint = self.pipeline.endpoint
        self.pid = self.pipeline.process.pid

    def end(self, acknowledged, connections):
        """Everything acknowledged was delivered, once. What was under way when wrk stopped may be there too."""
        seconds = self.pipeline.end()
        found, different = 0, set()
        for path in objects(self.folder / "rawdata").values():
            for line in path.read_bytes().splitlines():
                found += 1
                different.add(line)
        if not acknowledged <= found <= acknowledged + connections or len(different) != found:
            raise Failed(f"{self.name}: {acknowledged} acknowledged, {found} delivered, {len(different)} of them different; kept: {self.folder}")
        shutil.rmtree(self.folder)
        return {"delivered": found, "end_seconds": seconds}

    def stop(self):
        self.pipeline.kill()


class RawcatKinesis(RawcatGateway):
    """PutRecord, as the others."""

    name = "rawcat, PutRecord"
    way = ["kinesis", STREAM]
    path = "/"

    def __init__(self, args, binary):
        super().__init__(args, binary)
        # The gateway takes any JSON: make sure that it is Kinesis which answers.
        status, answer = call(self.pipeline.connection(), "kinesis", "ListStreams", {})
        if status != 200 or STREAM not in answer.get("StreamNames", []):
            self.stop()
            raise Failed(f"this rawcat does not speak the protocol of Kinesis: {status} {answer}")


class Peer:
    """Another server of PutRecord, that keeps all in memory."""

    way = ["kinesis", STREAM]
    path = "/"

    def launch(self, command, folder, settings):
        self.port = free_port()
        command = [str(word).replace("{port}", str(self.port)) for word in command]
        settings = {**environment(), **{name: value.replace("{port}", str(self.port)) for name, value in settings.items()}}
        self.process = subprocess.Popen(command, cwd=folder, env=settings, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.make_stream()

    def make_stream(self):
        """Asks until the server is up and the stream active."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
                call(connection, "kinesis", "CreateStream", {"StreamName": STREAM, "ShardCount": SHARDS}, SIGNED)
                status, answer = call(connection, "kinesis", "DescribeStreamSummary", {"StreamName": STREAM}, SIGNED)
                if status == 200 and answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE":
                    return
            except (OSError, HTTPException, ValueError):
                pass
            if time.monotonic() > until or self.process.poll() is not None:
                self.stop()
                raise Failed(f"{self.name} has no active stream after {START_SECONDS} s")
            time.sleep(0.1)

    def end(self, acknowledged, connections):
        self.stop()
        return {}

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


SIGNED = {"authorization": "AWS4-HMAC-SHA256 Credential=test/20260418/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0", "x-amz-date": "20260418T000000Z"}


class KinesisLocal(Peer):
    name = "kinesis-local, PutRecord"

    def __init__(self, args, binary):
        package = kinesis_local(args.work)
        # It wants a second port for TLS.
        self.launch(["node", "main.js"], package, {"KINESIS_MOCK_PLAIN_PORT": "{port}", "KINESIS_MOCK_TLS_PORT": str(free_port()), "LOG_LEVEL": "ERROR"})


class Moto(Peer):
    name = "moto, PutRecord"

    def __init__(self, args, binary):
        python = python_with_packages(args.work)
        self.launch([python, "-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"], args.work, {})


SERVERS = [RawcatGateway, RawcatKinesis, KinesisLocal, Moto]


def wrk(args, server, seconds):
    command = [program("wrk"), "-t1", f"-c{args.connections}", f"-d{seconds}s", "--timeout", "10s", "-s", HERE / "post.lua", server.endpoint + server.path, "--", *server.way]
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=seconds + 60, check=False)
    result = re.search(r"^RESULT (.*)$", said.stdout, re.MULTILINE)
    if not result:
        raise Failed(f"wrk said nothing of {server.name}:\n{said.stdout}{said.stderr}")
    return json.loads(result.group(1))


def peak_megabytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024


def ingest(args, binary):
    """wrk at each server in turn, several times."""
    program("wrk")
    servers, results = [], {}
    for server in SERVERS:
        if not args.peers and issubclass(server, Peer):
            continue
        try:
            for prepare in {KinesisLocal: [kinesis_local], Moto: [python_with_packages]}.get(server, []):
                prepare(args.work)
            servers.append(server)
            results[server.name] = []
        except (Missing, subprocess.CalledProcessError) as missing:
            say(f"without {server.name}: {missing}")
    for number in range(args.runs):
        for server_class in servers:
            server = server_class(args, binary)
            try:
                warm = wrk(args, server, WARM_SECONDS) if isinstance(server, Peer) else {"requests": 0, "not_2xx": 0}
                result = wrk(args, server, args.seconds)
                result["acknowledged"] = result["requests"] - result["not_2xx"]
                result["peak_mb"] = peak_megabytes(server.pid)
                result |= server.end(result["acknowledged"], args.connections)
            finally:
                server.stop()
            result["errors"] = sum(result[key] for key in ["not_2xx", "connect", "read", "write", "timeout"])
            results[server.name].append(result)
            say(f"{number + 1}. {server.name}: {result['acknowledged'] / result['seconds']:,.0f} a second, p99 {result['p99_us'] / 1000:.1f} ms, {result['errors']} errors{' (warmed)' if warm['requests'] else ''}")
    middle = lambda name, value: statistics.median(value(one) for one in results[name])
    rate = lambda one: one["acknowledged"] / one["seconds"]
    print(f"\n{args.connections} connections, {args.seconds} s each, medians of {args.runs}\n")
    print("| | requests a second | p50 | p99 | errors | peak memory | acknowledged and delivered once |\n|---|---|---|---|---|---|---|")
    for name in results:
        errors = sum(one["errors"] for one in results[name])
        is_kept = "yes" if "delivered" in results[name][0] else "kept in memory"
        if errors and name.startswith("rawcat"):
            raise Failed(f"{name}: {errors} errors: {results[name]}")
        print(
            f"| {name} | {middle(name, rate):,.0f} | {middle(name, lambda one: one['p50_us']) / 1000:.1f} ms | {middle(name, lambda one: one['p99_us']) / 1000:.1f} ms "
            f"| {errors} | {middle(name, lambda one: one['peak_mb']):,.0f} MB | {is_kept} |", flush=True,
        )
    return results


# ---------------------------------------------------------------- slow clients


def slowhttptest(mode):
    """A kind of slow clients, as tests/slow_clients.py has them."""

    def attack(args, address, until):
        seconds = max(1, int(until - time.monotonic()))
        url = "http://{}:{}/PROD/v1".format(*address)
        command = ["slowhttptest", mode, "-c", str(args.slow), "-r", str(args.slow), "-i", "2", "-l", str(seconds), "-t", "POST", "-s", "8192", "-x", "24", "-p", "3", "-u", url]
        said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
        text = re.sub(r"\x1b\[[0-9;]*m", "", said.stdout)
        numbers = {name: [int(one) for one in re.findall(rf"{name}:\s+(\d+)", text)] for name in ["connected", "closed"]}
        if not numbers["connected"]:
            raise Failed(f"slowhttptest said nothing:\n{text[-1000:]}{said.stderr[-1000:]}")
        if re.search(r"service available:\s+NO", text):
            raise Failed("slowhttptest found the pipeline not available")
        # When all were closed it ends, and does not count them any more.
        closed = max(numbers["connected"]) if "No open connections left" in text else max(numbers["closed"], default=0)
        return args.slow, max(numbers["connected"]), closed

    return attack


def slow(args, binary):
    program("slowhttptest")
    kinds = {
        "slow heads, by slowhttptest": slowhttptest("-H"),
        "slow bodies, by slowhttptest": slowhttptest("-B"),
        "idle connections": slow_clients.idle,
    }
    results = {}
    slow_clients.allow_files(max(args.idle, args.slow) + slow_clients.OTHER_FILES)
    print("\na record each 50 ms beside them, on a connection that stays and on new ones\n\n| | connections at a time | closed by the pipeline | records | failed | p50 | p99 | longest |\n|---|---|---|---|---|---|---|---|")
    for kind, attack in kinds.items():
        folder = Path(tempfile.mkdtemp(prefix="slow-", dir=args.work))
        with Pipeline(binary, folder, "--buffer-time", "2s") as pipeline:
            found = slow_clients.meet(args, pipeline, kind, attack, args.seconds)
            pipeline.end()
        print(
            f"| {kind} | {found['most']:,} | {found['closed']:,} | {found['records']} | {len(found['failures'])} | {found['p50_ms']:.1f} ms | {found['p99_ms']:.1f} ms | {found['longest_ms']:.0f} ms |", flush=True,
        )
        slow_clients.judge(args, kind, found)
        results[kind] = {name: value for name, value in found.items() if name != "taken"}
        shutil.rmtree(folder)
    return results


# ---------------------------------------------------------------- the run


def machine():
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores, {model.group(1) if model else platform.processor()}, {platform.system()} {platform.release()}"


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rawcat", type=Path, metavar="BINARY", help="the rawcat to measure (default: built by cargo)")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone")
    parser.add_argument("--work", type=Path, default=Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "bench-pipeline", help="where packages and results lie (default: target/bench-pipeline)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the round trip (default: 1,000,000)")
    parser.add_argument("--seconds", type=int, default=20, help="of each run of wrk, and of each kind of slow clients (default: 20)")
    parser.add_argument("--runs", type=int, default=3, help="of wrk at each server, in turn (default: 3)")
    parser.add_argument("--connections", type=int, default=64, help="of wrk (default: 64)")
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="rawcat alone")
    parser.add_argument("--slow", type=int, default=1_000, help="slow connections (default: 1000)")
    parser.add_argument("--idle", type=int, default=5_000, help="idle connections (default: 5000)")
    parser.add_argument("--p99-ms", type=float, default=250, help="how long others may wait for slow clients (default: 250)")
    return parser.parse_args()


def main():
    args = parse_args()
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    results, code = {"machine": machine(), "at": datetime.now(timezone.utc).isoformat(timespec="seconds")}, 0
    try:
        binary = rawcat_binary(args.rawcat)
    except Missing as missing:
        say(f"error: {missing}")
        return 2
    print(results["machine"])
    for name, part in {"round-trip": round_trip, "ingest": ingest, "slow": slow}.items():
        if args.only and name not in args.only:
            continue
        say(f"-- {name}")
        try:
            results[name] = part(args, binary)
        except Missing as missing:
            say(f"{name} is left out: {missing}")
            code = code or 2
        except (Failed, subprocess.SubprocessError) as failed:
            say(f"error: {name}: {failed}")
            code = 1
    (args.work / "results.json").write_text(json.dumps(results, indent=1))
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
