#!/usr/bin/env python3
"""Kills `rawcat pipeline` at random moments and shows that nothing it answered for is lost, and nothing comes twice.

    python3 tests/kill9_pipeline.py target/release/rawcat
    python3 tests/kill9_pipeline.py BINARY --kills 100 --seed 1 --max-seconds 300
    python tests/kill9_pipeline.py BINARY --kills 20 --bucket      # needs boto3 and moto[server]

In goes the binary. KILLS times it is started on one folder and killed with SIGKILL at a moment drawn by the seed:

- under load: while connections put records with ids of their own, and small buffers become objects all the time;
- in delivery: as soon as something is staged, or a little later;
- at the start: before it listens, or just after, when it takes up what the last run had decided;
- at the end: after SIGINT, while it delivers what is buffered.

Connections put records by HTTP, by PutRecords of Kinesis and by PutRecordBatch of Firehose (--protocols), the latter to the
delivery stream that is always there and to one that is made over the protocol. Who was answered for a record remembers it. After
each round, and at the end, when SIGINT has delivered the rest:

- no object that was seen has gone or has other bytes, and each new one decodes and has a proper name;
- every acknowledged record is in an object, once; none that was not sent; those without an answer once at most;
- sequence numbers that were told are all different, and grow within their shard for whoever put one after another;
- nothing is staged any more, and `rawcat cat` finds as many records.

With --bucket objects go to a bucket of moto's, which runs in a process of its own; otherwise into folders.
Out comes one line. Exit code 0: all held. 1: something did not, and its folder is kept and named. 2: usage.
Standard library only, but for --bucket; traffic stays on this machine.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from datetime import datetime, timedelta, timezone
from http.client import HTTPException
from pathlib import Path

from local_pipeline import OBJECT_NAME, Failed, Pipeline, call, content, objects, post, records, run, staged

STREAM, MADE = "rawcat-stream", "made"
KINDS = [("load", 45), ("delivery", 30), ("start", 15), ("end", 10)]
LOAD_SECONDS = 0.35
DELIVERY_SECONDS = 1.0
START_SECONDS = 0.06
CONNECTIONS = 6
BATCH = 8
PAD_BYTES = 120
# Sizes at which an object is made every few hundred records, so that kills meet deliveries.
BUFFERS = ["2KiB", "9KiB", "40KiB"]


class Producers:
    """Connections that put records until the pipeline is gone. They go on from round to round; ids never repeat."""

    def __init__(self, seed, ways):
        self.seed, self.ways = seed, ways
        self.lock = threading.Lock()
        self.sent, self.acknowledged, self.numbers = set(), set(), set()
        self.problems = []
        self.slowest_start = 0.0

    def load(self, pipeline, round_number):
        """Starts the connections; returns their threads."""
        threads = [
            threading.Thread(target=self.produce, args=(pipeline, round_number, number), daemon=True)
            for number in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        return threads

    def produce(self, pipeline, round_number, number):
        way = self.ways[number % len(self.ways)]
        rng = random.Random(f"{self.seed}/{round_number}/{number}")
        last = {}
        connection = pipeline.connection()
        try:
            for batch in range(1_000_000):
                count = 1 if way == "http" else rng.randint(1, BATCH)
                ids = [f"{round_number}-{number}-{batch}-{at}" for at in range(count)]
                pad = "x" * rng.randint(0, PAD_BYTES)
                bodies = [json.dumps({"id": one, "pad": pad}) for one in ids]
                with self.lock:
                    self.sent.update(ids)
                taken = [one for one in WAYS[way](connection, ids, bodies) if one]
                with self.lock:
                    self.note(taken, last)
        except (OSError, HTTPException):
            return  # It was killed.
        except Exception as error:  # noqa: BLE001: whatever it is, the round says so
            # A pipeline that ends may refuse; then nothing was acknowledged.
            if not pipeline.is_ending:
                self.problems.append(f"{way}: {error}")
        finally:
            connection.close()

    def note(self, taken, last):
        for one, shard, number in taken:
            self.acknowledged.add(one)
            if number is None:
                continue
            if (shard, number) in self.numbers:
                self.problems.append(f"the sequence number {number} of {shard} was told twice")
            if number <= last.get(shard, -1):
                self.problems.append(f"the sequence number {number} of {shard} does not grow: {last[shard]} was before it")
            self.numbers.add((shard, number))
            last[shard] = number


def by_http(connection, ids, bodies):
    status, answer = post(connection, bodies[0])
    if status != 200:
        raise Failed(f"POST was answered with {status}: {answer[:300]!r}")
    answer = json.loads(answer)
    return [(ids[0], answer["ShardId"], int(answer["SequenceNumber"]))]


def by_kinesis(connection, ids, bodies):
    records = [{"Data": b64encode(body.encode()).decode(), "PartitionKey": one} for one, body in zip(ids, bodies)]
    status, answer = call(connection, "kinesis", "PutRecords", {"StreamName": STREAM, "Records": records})
    if status != 200:
        raise Failed(f"PutRecords was answered with {status}: {answer}")
    return [None if "ErrorCode" in one else (id, one["ShardId"], int(one["SequenceNumber"])) for id, one in zip(ids, answer["Records"])]


def by_firehose(connection, ids, bodies):
    records = [{"Data": b64encode(body.encode()).decode()} for body in bodies]
    name = MADE if len(ids) % 2 else f"{STREAM}-direct"
    status, answer = call(connection, "firehose", "PutRecordBatch", {"DeliveryStreamName": name, "Records": records})
    if status != 200:
        raise Failed(f"PutRecordBatch was answered with {status}: {answer}")
    return [None if "ErrorCode" in one else (id, None, None) for id, one in zip(ids, answer["RequestResponses"])]


def make_delivery_stream(pipeline):
    """Makes MADE, or finds it made by an earlier round that may have been killed while it did."""
    connection = pipeline.connection()
    destination = {
        "RoleARN": "arn:aws:iam::123456789012:role/delivery", "BucketARN": f"arn:aws:s3:::{MADE}",
        "CompressionFormat": "GZIP", "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
    }
    request = {"DeliveryStreamName": MADE, "DeliveryStreamType": "DirectPut", "ExtendedS3DestinationConfiguration": destination}
    status, answer = call(connection, "firehose", "CreateDeliveryStream", request)
    connection.close()
    if status != 200 and "ResourceInUseException" not in answer.get("__type", ""):
        raise Failed(f"CreateDeliveryStream was answered with {status}: {answer}")


WAYS = {"http": by_http, "kinesis": by_kinesis, "firehose": by_firehose}


class Folders:
    """Where objects go: folders in the place of work."""

    settings = {}
    options = []
    sources = ["rawdata", f"buckets/{MADE}"]

    def __init__(self, work):
        self.roots = [work / "rawdata", work / "buckets"]

    def objects(self):
        """{key: (what changes when it is written, how to read it)}."""
        found = {}
        for root in self.roots:
            for key, path in objects(root).items():
                stat = path.stat()
                found[f"{root.name}/{key}"] = (stat.st_ino, stat.st_mtime_ns, stat.st_size), path.read_bytes
        return found

    def has(self, source):
        return any(key.startswith(f"{source}/") for key in self.objects())

    def close(self):
        pass


class Buckets:
    """Where objects go: buckets of moto's."""

    settings = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
    sources = ["s3://rawdata/", f"s3://{MADE}/"]

    def __init__(self, _):
        import boto3  # Who kills without --bucket need not have it.

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self.server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        endpoint = f"http://127.0.0.1:{port}"
        self.options = ["--endpoint-url", endpoint, "--deliver", "s3://rawdata/", "--buckets", "s3"]
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        self.s3 = boto3.client("s3", endpoint_url=endpoint, **keys)
        until = time.monotonic() + 30
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
            except OSError:
                if time.monotonic() > until or self.server.poll() is not None:
                    raise Failed("moto does not listen within 30 s; is moto[server] installed?") from None
                time.sleep(0.1)
        for name in ["rawdata", MADE]:
            self.s3.create_bucket(Bucket=name)

    def objects(self):
        found = {}
        for bucket in ["rawdata", MADE]:
            for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
                for one in page.get("Contents", []):
                    read = lambda bucket=bucket, key=one["Key"]: self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
                    found[f"s3://{bucket}/{one['Key']}"] = (one["ETag"], one["LastModified"], one["Size"]), read
        return found

    def has(self, source):
        return any(key.startswith(source) for key in self.objects())

    def close(self):
        self.server.kill()
        self.server.wait()


class Seen:
    """Objects that were seen: what has its name keeps its bytes."""

    def __init__(self, places):
        self.places = places
        self.objects = {}  # key → (mark, hash)
        self.records = Counter()

    def look(self, thoroughly=False):
        found = self.places.objects()
        gone = sorted(self.objects.keys() - found.keys())
        if gone:
            raise Failed(f"objects that were there are gone: {', '.join(gone[:5])}")
        for key, (mark, read) in found.items():
            known = self.objects.get(key)
            if known and known[0] == mark and not thoroughly:
                continue
            stored = read()
            digest = hashlib.sha256(stored).hexdigest()
            if known and known[1] != digest:
                raise Failed(f"{key} has other bytes than before")
            if not known:
                self.take(key, stored)
            self.objects[key] = mark, digest

    def take(self, key, stored):
        if not OBJECT_NAME.fullmatch(key.rsplit("/", 1)[-1]):
            raise Failed(f"this is no object's name: {key}")
        try:
            found = records(content(stored))
        except (ValueError, OSError, EOFError) as error:
            raise Failed(f"{key} of {len(stored)} bytes can't be read: {error}") from None
        if not found:
            raise Failed(f"{key} holds no record")
        self.records.update(record["id"] for record in found)


# ---------------------------------------------------------------- the rounds


def start(args, work, rng, places):
    options = [*places.options, "--buffer-size", rng.choice(BUFFERS), "--buffer-time", "1s", "--shards", "3", "--compression", rng.choice(["none", "gzip"])]
    return Pipeline(args.binary, work, *options, settings=places.settings)


def wait_for_staging(work, until):
    """Until something is staged, or the time is over. Only folders of that name are looked at, as fast as can be."""
    folders = [folder for folder, _, _ in os.walk(work) if os.path.basename(folder) in {".rawcat", "staged"}]
    while time.monotonic() < until:
        for folder in folders:
            try:
                if any(entry.is_file() for entry in os.scandir(folder)):
                    return
            except OSError:
                continue


def one_round(args, work, number, rng, producers, places):
    """One kill; returns its kind."""
    kind = rng.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])[0]
    began = time.monotonic()
    pipeline = start(args, work, rng, places)
    threads = []
    try:
        if kind == "start":
            time.sleep(rng.uniform(0, START_SECONDS))
        else:
            pipeline.address
            took = time.monotonic() - began
            producers.slowest_start = max(producers.slowest_start, took)
            if took > args.start_seconds:
                raise Failed(f"it listened only after {took:.2f} s; at most {args.start_seconds} s are allowed (--start-seconds)")
            if "firehose" in args.protocols:
                make_delivery_stream(pipeline)
            threads = producers.load(pipeline, number)
            if kind == "delivery":
                time.sleep(rng.uniform(0, 0.1))
                wait_for_staging(work, time.monotonic() + DELIVERY_SECONDS)
                time.sleep(rng.choice([0, 0.0005, 0.002, 0.01]) * rng.random())
            else:
                time.sleep(rng.uniform(0.01, LOAD_SECONDS))
            if kind == "end":
                pipeline.interrupt()
                time.sleep(rng.uniform(0, 0.05))
        code = pipeline.process.poll()
        if code is not None and not (kind == "end" and code == 0):
            raise Failed(f"it ended by itself, with {code}:\n{pipeline.said()[-2000:]}")
    finally:
        pipeline.kill()
        for thread in threads:
            thread.join(10)
    if any(thread.is_alive() for thread in threads):
        raise Failed("a connection did not notice within 10 s that the pipeline is gone")
    return kind


def finish(args, work, rng, producers, seen):
    """Delivers the rest, and compares."""
    with start(args, work, rng, seen.places) as pipeline:
        pipeline.end()
    seen.look(thoroughly=True)
    lost = producers.acknowledged - seen.records.keys()
    twice = [one for one, count in seen.records.items() if count > 1]
    strangers = seen.records.keys() - producers.sent
    for what, ids in [("acknowledged and lost", lost), ("delivered twice", twice), ("never sent", strangers)]:
        if ids:
            raise Failed(f"{len(ids)} records were {what}: {', '.join(sorted(ids)[:8])}")
    left = staged(work)
    if left:
        raise Failed(f"at the end these are staged: {', '.join(left)}")
    now = datetime.now(timezone.utc)
    days = ["--from", f"{now - timedelta(days=1):%Y-%m-%d}", "--to", f"{now:%Y-%m-%d}", "--tz", "UTC"]
    endpoint = seen.places.options[:2]
    lines = sum(
        run(args.binary, work, "cat", "--source", source, *endpoint, *days, settings=seen.places.settings).count("\n")
        for source in seen.places.sources if seen.places.has(source)
    )
    if lines != sum(seen.records.values()):
        raise Failed(f"`rawcat cat` finds {lines} records, and the objects hold {sum(seen.records.values())}")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", type=Path, metavar="BINARY", help="the rawcat to run")
    parser.add_argument("--kills", type=int, default=100, help="rounds (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of moments and records (default: 1)")
    parser.add_argument("--max-seconds", type=float, default=300, help="of the whole; beyond it the exit code is 1 (default: 300)")
    parser.add_argument("--start-seconds", type=float, default=3, help="within which it must listen (default: 3)")
    parser.add_argument("--protocols", default="http,kinesis,firehose", help="how records are put (default: http,kinesis,firehose)")
    parser.add_argument("--bucket", action="store_true", help="deliver to buckets of moto's")
    args = parser.parse_args()
    args.binary = args.binary.resolve()
    args.protocols = args.protocols.split(",")
    if not os.access(args.binary, os.X_OK):
        parser.error(f"{args.binary} cannot be run")
    if args.kills < 1:
        parser.error("--kills must be at least 1")
    if set(args.protocols) - WAYS.keys():
        parser.error(f"--protocols knows {', '.join(WAYS)}")
    return args


def main():
    args = parse_args()
    rng = random.Random(args.seed)
    work = Path(tempfile.mkdtemp(prefix="rawcat-kill9-"))
    began, kinds, done, places = time.monotonic(), Counter(), 0, None
    try:
        places = Buckets(work) if args.bucket else Folders(work)
        producers, seen = Producers(args.seed, args.protocols), Seen(places)
        for number in range(args.kills):
            if time.monotonic() - began > args.max_seconds:
                raise Failed(f"only {done} of {args.kills} rounds in {args.max_seconds:.0f} s; raise --max-seconds or lower --kills")
            kinds[one_round(args, work, number, rng, producers, places)] += 1
            seen.look()
            if producers.problems:
                raise Failed("; ".join(producers.problems[:5]))
            done += 1
        finish(args, work, rng, producers, seen)
        if not producers.acknowledged or not seen.objects:
            raise Failed("nothing was put, or nothing delivered: nothing was shown")
    except Failed as failed:
        print(f"round {done + 1}, seed {args.seed}: {failed}\nkept: {work}", file=sys.stderr)
        print(f"kill9_pipeline: failed after {done} of {args.kills} rounds")
        sys.exit(1)
    finally:
        if places:
            places.close()
    shutil.rmtree(work)
    print(
        f"kill9_pipeline: {done} kills ({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}); "
        f"{len(producers.sent):,} records sent, {len(producers.acknowledged):,} acknowledged, {sum(seen.records.values()):,} delivered, "
        f"none lost, none twice; {len(seen.objects):,} objects; slowest start {producers.slowest_start:.2f} s; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
