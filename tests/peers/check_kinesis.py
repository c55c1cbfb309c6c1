#!/usr/bin/env python3
"""boto3, as people use it for Kinesis and Firehose, against `rawcat pipeline`.

    python tests/peers/check_kinesis.py target/release/rawcat
    python tests/peers/check_kinesis.py --moto      # the same expectations against moto, where it knows the call

In goes the binary; it is started here, on a free port, in a folder of its own, and ended by its process id. What is asked is
what AWS documents: shapes of answers, shards and hash keys, the five kinds of iterators, failures of single records, the classes
of errors; a consumer that reads what several producers put, each record once and in order; delivery streams made by boto3,
and their objects. --moto shows that the expectations are not ours alone; parts that moto does not model are left out.

Needs boto3; --moto needs moto[server]. Exit code 0: all as expected. 1: something is not, and the folder is kept and named.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import shutil
import sys
import tempfile
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter, defaultdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from local_pipeline import OBJECT_NAME, Failed, Pipeline, all_records, content, objects, post, records, run  # noqa: E402

STREAM = "rawcat-stream"
ROLE = "arn:aws:iam::123456789012:role/delivery"
LAST_HASH_KEY = 2**128 - 1
KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
# Errors that AWS tells apart less than its documentation does: either will do.
INVALID = {"ValidationException", "InvalidArgumentException"}
WAIT_SECONDS = 30
CONSUME_SECONDS = 60


def client(service, endpoint):
    """No retries: what is refused is looked at."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30, max_pool_connections=20)
    return boto3.client(service, endpoint_url=endpoint, config=config, **KEYS)


def expect(wanted, found, what):
    if wanted != found:
        raise Failed(f"{what}: {str(found)[:500]} instead of {str(wanted)[:500]}")


def require(holds, what):
    if not holds:
        raise Failed(what)


@contextlib.contextmanager
def refused(of, codes, what):
    """What happens inside must be refused, with one of these codes, as the exception class that boto3 has for it."""
    codes = {codes} if isinstance(codes, str) else codes
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code not in codes:
            raise Failed(f"{what}: refused as {code} instead of {' or '.join(sorted(codes))}: {error}") from None
        if code in dir(of.exceptions) and not isinstance(error, getattr(of.exceptions, code)):
            raise Failed(f"{what}: {code} did not become its class: {error!r}") from None
        expect(400, error.response["ResponseMetadata"]["HTTPStatusCode"], f"{what}: status")
        require(error.response["Error"].get("Message"), f"{what}: {code} comes without a message")
    else:
        raise Failed(f"{what}: it was taken")


def all_refused(world, of, cases):
    """Each of (what, codes, call) must be; of moto only what it knows."""
    for what, codes, call in cases:
        if not (world.is_moto and what in MOTO_LETS_PASS):
            with refused(of, codes, what):
                call()


MOTO_LETS_PASS = {
    "a record of more than 1 MiB", "a record of more than 1 MiB among others", "more than 5 MiB",
    "a sequence number that is none", "an iterator that is none", "an iterator that was changed", "a limit of 10,001",
    "AT_TIMESTAMP without a time", "AT_SEQUENCE_NUMBER without a number", "an iterator of six minutes ago",
}


def wait_for(what, is_so):
    until = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > until:
            raise Failed(f"{what}: not within {WAIT_SECONDS} s")
        time.sleep(0.05)


def make_stream(kinesis, name, shards):
    """The ids of its shards, in order of hash keys."""
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": WAIT_SECONDS})
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName=name)["Shards"]]


def iterator(kinesis, name, shard, kind="TRIM_HORIZON", **more):
    return kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def read_from(kinesis, at, limit=None):
    """All records from an iterator on, until the tip of the shard; and the iterator there."""
    found = []
    for _ in range(10_000):
        answer = kinesis.get_records(ShardIterator=at, **({"Limit": limit} if limit else {}))
        require(not limit or len(answer["Records"]) <= limit, f"more records than Limit={limit}")
        found += answer["Records"]
        at = answer["NextShardIterator"]
        if not answer["Records"] and answer["MillisBehindLatest"] == 0:
            return found, at
    raise Failed("no end of the shard after 10,000 calls")


def read_all(kinesis, name):
    """{shard: records}."""
    shards = [shard["ShardId"] for shard in kinesis.list_shards(StreamName=name)["Shards"]]
    return {shard: read_from(kinesis, iterator(kinesis, name, shard))[0] for shard in shards}


def data_of(found):
    return [one["Data"] for one in found]


# ---------------------------------------------------------------- Kinesis


def streams(world):
    """Streams are made, listed, described and deleted."""
    kinesis = world.kinesis
    shards = make_stream(kinesis, "made", 3)
    expect([f"shardId-{number:012d}" for number in range(3)], shards, "ids of shards")
    make_stream(kinesis, "also-made", 1)
    names, start = [], {}
    for _ in range(50):
        answer = kinesis.list_streams(Limit=1, **start)
        names += answer["StreamNames"]
        if not answer["HasMoreStreams"]:
            break
        start = {"ExclusiveStartStreamName": names[-1]}
    expect(sorted([*world.streams, "also-made", "made"]), sorted(names), "ListStreams, one by one")
    expect(set(names), set(kinesis.list_streams()["StreamNames"]), "ListStreams")

    described = kinesis.describe_stream(StreamName="made")["StreamDescription"]
    expect(("made", "ACTIVE", 24, False), tuple(described[key] for key in ["StreamName", "StreamStatus", "RetentionPeriodHours", "HasMoreShards"]), "DescribeStream")
    arn = described["StreamARN"]
    require(arn.startswith("arn:aws:kinesis:") and arn.endswith(":stream/made"), f"StreamARN: {arn}")
    require(abs(described["StreamCreationTimestamp"] - datetime.now(timezone.utc)) < timedelta(minutes=1), "StreamCreationTimestamp")
    ranges = [(int(one["HashKeyRange"]["StartingHashKey"]), int(one["HashKeyRange"]["EndingHashKey"])) for one in described["Shards"]]
    expect([0, *(end + 1 for _, end in ranges[:-1])], [start for start, _ in ranges], "hash keys of shards meet")
    expect(LAST_HASH_KEY, ranges[-1][1], "the last hash key")
    require(all(one["SequenceNumberRange"]["StartingSequenceNumber"].isdigit() for one in described["Shards"]), "StartingSequenceNumber")
    require(not any("EndingSequenceNumber" in one["SequenceNumberRange"] for one in described["Shards"]), "open shards have no end")
    by_arn = kinesis.describe_stream(StreamARN=arn)["StreamDescription"]
    expect(described["Shards"], by_arn["Shards"], "DescribeStream by ARN")

    summary = kinesis.describe_stream_summary(StreamName="made")["StreamDescriptionSummary"]
    expect(("made", arn, "ACTIVE", 3, 24), tuple(summary[key] for key in ["StreamName", "StreamARN", "StreamStatus", "OpenShardCount", "RetentionPeriodHours"]), "DescribeStreamSummary")
    expect(described["Shards"], kinesis.list_shards(StreamName="made")["Shards"], "ListShards")
    if not world.is_moto:  # It wants the name again, which AWS refuses.
        first = kinesis.list_shards(StreamName="made", MaxResults=2)
        rest = kinesis.list_shards(NextToken=first["NextToken"])
        expect(shards, [one["ShardId"] for one in first["Shards"] + rest["Shards"]], "ListShards by pages")
        require("NextToken" not in rest, "the last page of ListShards has a NextToken")

    with refused(kinesis, "ResourceInUseException", "CreateStream of a stream that is there"):
        kinesis.create_stream(StreamName="made", ShardCount=1)
    for what, call in {
        "DescribeStream": lambda: kinesis.describe_stream(StreamName="nowhere"),
        "DescribeStreamSummary": lambda: kinesis.describe_stream_summary(StreamName="nowhere"),
        "ListShards": lambda: kinesis.list_shards(StreamName="nowhere"),
        "DeleteStream": lambda: kinesis.delete_stream(StreamName="nowhere"),
        "PutRecord": lambda: kinesis.put_record(StreamName="nowhere", Data=b"x", PartitionKey="k"),
        "PutRecords": lambda: kinesis.put_records(StreamName="nowhere", Records=[{"Data": b"x", "PartitionKey": "k"}]),
        "GetShardIterator": lambda: iterator(kinesis, "nowhere", shards[0]),
    }.items():
        with refused(kinesis, "ResourceNotFoundException", f"{what} of a stream that is not there"):
            call()
    for name in ["made", "also-made"]:
        kinesis.delete_stream(StreamName=name)
        kinesis.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": WAIT_SECONDS})
    expect(sorted(world.streams), sorted(kinesis.list_streams()["StreamNames"]), "ListStreams after DeleteStream")


def puts(world):
    """Records go to the shard of their hash key, and come back as they were."""
    kinesis, name = world.kinesis, "puts"
    make_stream(kinesis, name, 4)
    shards = kinesis.list_shards(StreamName=name)["Shards"]
    # moto finds no shard for some of the last keys.
    ends = ["StartingHashKey"] if world.is_moto else ["StartingHashKey", "EndingHashKey"]
    for shard in shards:
        for end in ends:
            put = kinesis.put_record(StreamName=name, Data=end.encode(), PartitionKey="same", ExplicitHashKey=shard["HashKeyRange"][end])
            expect(shard["ShardId"], put["ShardId"], f"the shard of {end}")
            require(put["SequenceNumber"].isdigit() and (len(put["SequenceNumber"]) == 56 or world.is_moto), f"SequenceNumber: {put['SequenceNumber']}")
    every_byte = bytes(range(256)) * 5
    entries = [{"Data": every_byte + str(number).encode(), "PartitionKey": f"열쇠 {number}"} for number in range(40)]
    answer = kinesis.put_records(StreamName=name, Records=entries)
    expect((0, 40), (answer.get("FailedRecordCount"), len(answer["Records"])), "PutRecords")
    for entry, result in zip(entries, answer["Records"]):
        hash_key = int.from_bytes(hashlib.md5(entry["PartitionKey"].encode()).digest(), "big")
        (wanted,) = [
            shard["ShardId"] for shard in shards
            if int(shard["HashKeyRange"]["StartingHashKey"]) <= hash_key <= int(shard["HashKeyRange"]["EndingHashKey"])
        ]
        expect(wanted, result["ShardId"], f"the shard of {entry['PartitionKey']}")
    found = read_all(kinesis, name)
    together = [(one["PartitionKey"], one["Data"]) for shard in found.values() for one in shard]
    wanted = [(one["PartitionKey"], one["Data"]) for one in entries] + [("same", end.encode()) for end in ends for _ in shards]
    expect(Counter(wanted), Counter(together), "what comes back")
    for shard, ones in found.items():
        numbers = [int(one["SequenceNumber"]) for one in ones]
        expect(sorted(set(numbers)), numbers, f"sequence numbers of {shard} grow")
        times = [one["ApproximateArrivalTimestamp"] for one in ones]
        require(all(abs(at - datetime.now(timezone.utc)) < timedelta(minutes=1) for at in times), "ApproximateArrivalTimestamp")
    told = {(one["ShardId"], one["SequenceNumber"]) for one in answer["Records"]}
    require(told <= {(shard, one["SequenceNumber"]) for shard, ones in found.items() for one in ones}, "sequence numbers are those that were told")
    ordered = kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="a")
    later = kinesis.put_record(StreamName=name, Data=b"", PartitionKey="a", SequenceNumberForOrdering=ordered["SequenceNumber"])
    expect((ordered["ShardId"], True), (later["ShardId"], int(later["SequenceNumber"]) > int(ordered["SequenceNumber"])), "SequenceNumberForOrdering, and no data")


def bad_puts(world):
    """What breaks a limit is refused, and nothing of it is kept."""
    kinesis, name = world.kinesis, "bad-puts"
    make_stream(kinesis, name, 1)
    entry = {"Data": b"x", "PartitionKey": "k"}
    mebibyte = b"x" * (1 << 20)
    kinesis.put_record(StreamName=name, Data=mebibyte[1:], PartitionKey="k")
    all_refused(world, kinesis, [
        ("a record of more than 1 MiB", INVALID, lambda: kinesis.put_record(StreamName=name, Data=mebibyte + b"x", PartitionKey="k")),
        ("a record of more than 1 MiB among others", INVALID, lambda: kinesis.put_records(StreamName=name, Records=[entry, {**entry, "Data": mebibyte + b"x"}])),
        ("501 records", INVALID, lambda: kinesis.put_records(StreamName=name, Records=[entry] * 501)),
        ("more than 5 MiB", INVALID, lambda: kinesis.put_records(StreamName=name, Records=[{**entry, "Data": mebibyte[9:]}] * 6)),
        ("a partition key of 257 characters", INVALID, lambda: kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="k" * 257)),
        ("a hash key beyond 128 bits", INVALID, lambda: kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="k", ExplicitHashKey=str(2**128))),
    ])
    found = read_all(kinesis, name)
    if not world.is_moto:
        expect([mebibyte[1:]], data_of(next(iter(found.values()))), "only what was taken is there")


def iterators(world):
    """Each kind of iterator begins where it should, and goes on from page to page."""
    kinesis, name = world.kinesis, "iterators"
    (shard,) = make_stream(kinesis, name, 1)
    latest = iterator(kinesis, name, shard, "LATEST")
    numbers = []
    for number in range(10):
        if number == 5:
            time.sleep(1.1)
            middle = datetime.now(timezone.utc)
            time.sleep(1.1)
        numbers.append(kinesis.put_record(StreamName=name, Data=str(number).encode(), PartitionKey="k")["SequenceNumber"])
    everything = [str(number).encode() for number in range(10)]
    for kind, more, wanted in [
        ("TRIM_HORIZON", {}, everything),
        ("AT_SEQUENCE_NUMBER", {"StartingSequenceNumber": numbers[3]}, everything[3:]),
        ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": numbers[3]}, everything[4:]),
        ("AT_TIMESTAMP", {"Timestamp": middle}, everything[5:]),
        ("AT_TIMESTAMP", {"Timestamp": middle - timedelta(hours=2)}, everything),
        ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": numbers[9]}, []),
    ]:
        for limit in [None, 1, 4]:
            found, _ = read_from(kinesis, iterator(kinesis, name, shard, kind, **more), limit)
            expect(wanted, data_of(found), f"{kind} {more}, {limit or 'all'} at a time")
    found, tip = read_from(kinesis, latest)
    expect(everything, data_of(found), "LATEST, taken before the first record")
    after = iterator(kinesis, name, shard, "LATEST")
    expect([], data_of(read_from(kinesis, after)[0]), "LATEST at the tip")
    kinesis.put_record(StreamName=name, Data=b"new", PartitionKey="k")
    for at in [tip, after]:
        expect([b"new"], data_of(read_from(kinesis, at)[0]), "what came after the tip")
    expect([b"new"], data_of(read_from(kinesis, tip)[0]), "an iterator serves more than once")


def bad_iterators(world):
    """What is no iterator is refused."""
    kinesis, name = world.kinesis, "bad-iterators"
    (shard,) = make_stream(kinesis, name, 1)
    kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="k")
    good = iterator(kinesis, name, shard)
    all_refused(world, kinesis, [
        ("a shard that is not there", "ResourceNotFoundException", lambda: iterator(kinesis, name, "shardId-000000000009")),
        ("a kind that is none", INVALID, lambda: iterator(kinesis, name, shard, "FROM_THE_MIDDLE")),
        ("AT_SEQUENCE_NUMBER without a number", INVALID, lambda: iterator(kinesis, name, shard, "AT_SEQUENCE_NUMBER")),
        ("a sequence number that is none", INVALID, lambda: iterator(kinesis, name, shard, "AT_SEQUENCE_NUMBER", StartingSequenceNumber="x1")),
        ("AT_TIMESTAMP without a time", INVALID, lambda: iterator(kinesis, name, shard, "AT_TIMESTAMP")),
        ("an iterator that is none", INVALID, lambda: kinesis.get_records(ShardIterator="AAAA")),
        ("an iterator that was changed", INVALID, lambda: kinesis.get_records(ShardIterator=good[:-4])),
        ("a limit of 10,001", INVALID, lambda: kinesis.get_records(ShardIterator=good, Limit=10_001)),
        ("an iterator of six minutes ago", "ExpiredIteratorException", lambda: kinesis.get_records(ShardIterator=made_earlier(good, minutes=6))),
    ])


def made_earlier(text, minutes):
    """An iterator of the pipeline, as if it had been made before: its last eight bytes are milliseconds since 1970."""
    made = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    milliseconds = int.from_bytes(made[-8:], "big") - minutes * 60_000
    return urlsafe_b64encode(made[:-8] + milliseconds.to_bytes(8, "big")).decode().rstrip("=")


def consumers(world):
    """Consumers read what producers put at the same time: each record once, in the order of the shard."""
    kinesis, name, total, producers, batch = world.kinesis, "consumers", 10_000, 5, 50
    shards = make_stream(kinesis, name, 3)
    problems, told = [], defaultdict(dict)
    read = {shard: [] for shard in shards}
    is_over = threading.Event()
    until = time.monotonic() + CONSUME_SECONDS

    def produce(number):
        for first in range(number * batch, total, producers * batch):
            entries = [{"Data": f"{number} {at}".encode(), "PartitionKey": f"{number}-{at % 17}"} for at in range(first, first + batch)]
            if first % 400 == 0:
                results = [kinesis.put_record(StreamName=name, **entry) for entry in entries]
            else:
                results = kinesis.put_records(StreamName=name, Records=entries)["Records"]
            for entry, result in zip(entries, results):
                told[result["ShardId"]][result["SequenceNumber"]] = entry["Data"]

    def consume(shard):
        at = iterator(kinesis, name, shard)
        while time.monotonic() < until:
            ended = is_over.is_set()
            answer = kinesis.get_records(ShardIterator=at, Limit=700)
            read[shard] += answer["Records"]
            at = answer["NextShardIterator"]
            if ended and not answer["Records"] and answer["MillisBehindLatest"] == 0:
                return
            if not answer["Records"]:
                time.sleep(0.02)
        raise Failed(f"{shard} was not read within {CONSUME_SECONDS} s")

    def guarded(work, *args):
        try:
            work(*args)
        except Exception as error:  # noqa: BLE001: told below
            problems.append(f"{type(error).__name__}: {error}")

    reading = [threading.Thread(target=guarded, args=(consume, shard)) for shard in shards]
    putting = [threading.Thread(target=guarded, args=(produce, number)) for number in range(producers)]
    began = time.monotonic()
    for thread in reading + putting:
        thread.start()
    for thread in putting:
        thread.join()
    took = time.monotonic() - began
    is_over.set()
    for thread in reading:
        thread.join()
    require(not problems, "; ".join(problems[:3]))
    expect(total, sum(map(len, told.values())), "sequence numbers that were told, each once")
    for shard, found in read.items():
        numbers = [int(one["SequenceNumber"]) for one in found]
        require(all(a < b for a, b in zip(numbers, numbers[1:])), f"{shard}: sequence numbers don't grow as they are read")
        expect(told[shard], {one["SequenceNumber"]: one["Data"] for one in found}, f"{shard}: what was told and what is read")
        last = defaultdict(int)
        for one in found:
            producer, at = map(int, one["Data"].split())
            # Within a batch AWS promises no order.
            require(at // batch >= last[producer], f"{shard}: records of producer {producer} changed places")
            last[producer] = at // batch
    return f"{total} records of {producers} producers in {took:.1f} s, read by {len(shards)} consumers"


def protocol(world):
    """Unsigned, as curl would: operations that are none, bodies that are none."""
    connection = world.pipeline.connection()
    for service, operation, body, codes in [
        ("Kinesis_20131202", "MakeCoffee", b"{}", {"UnknownOperationException"}),
        ("Firehose_20150804", "MakeCoffee", b"{}", {"UnknownOperationException"}),
        ("Kinesis_20131202", "ListShards", b"{", {"SerializationException"}),
        ("Kinesis_20131202", "PutRecord", b'{"StreamName":"rawcat-stream","PartitionKey":"k","Data":"not base64!"}', {"SerializationException"}),
        ("Kinesis_20131202", "PutRecord", b'{"StreamName":"rawcat-stream","Data":"eA=="}', INVALID),
    ]:
        headers = {"x-amz-target": f"{service}.{operation}", "content-type": "application/x-amz-json-1.1"}
        status, answer = post(connection, body, "/", headers)
        kind = json.loads(answer)["__type"].rsplit("#", 1)[-1]
        require(status == 400 and kind in codes, f"{operation} with {body!r}: {status} {answer!r}")
    connection.close()


def defaults(world):
    """The stream that is there without being made: the gateway puts on it, and it feeds a delivery stream."""
    kinesis, firehose = world.kinesis, world.firehose
    connection = world.pipeline.connection()
    status, body = post(connection, '{"by":"gateway"}', headers={"x-partition-key": "k"})
    connection.close()
    expect(200, status, "POST to the gateway")
    told = json.loads(body)
    hash_key = int.from_bytes(hashlib.md5(b"k").digest(), "big")
    shards = {one["ShardId"]: one["HashKeyRange"] for one in kinesis.list_shards(StreamName=STREAM)["Shards"]}
    here = shards[told["ShardId"]]
    require(int(here["StartingHashKey"]) <= hash_key <= int(here["EndingHashKey"]), "the shard of x-partition-key")
    at = iterator(kinesis, STREAM, told["ShardId"], "AT_SEQUENCE_NUMBER", StartingSequenceNumber=told["SequenceNumber"])
    (found,) = read_from(kinesis, at)[0]
    expect((b'{"by":"gateway"}', "k"), (found["Data"], found["PartitionKey"]), "what the gateway put")
    kinesis.put_record(StreamName=STREAM, Data=b'{"by":"kinesis"}', PartitionKey="k")
    described = firehose.describe_delivery_stream(DeliveryStreamName=STREAM)["DeliveryStreamDescription"]
    expect("KinesisStreamAsSource", described["DeliveryStreamType"], "the type of the delivery stream")
    source = described["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"]
    expect(kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamARN"], source, "its source")
    with refused(firehose, "InvalidArgumentException", "PutRecord to a delivery stream with a stream as its source"):
        firehose.put_record(DeliveryStreamName=STREAM, Record={"Data": b"x"})
    firehose.put_record(DeliveryStreamName=f"{STREAM}-direct", Record={"Data": b'{"by":"firehose"}'})
    world.wanted_in_rawdata += [{"by": by} for by in ["gateway", "kinesis", "firehose"]]


# ---------------------------------------------------------------- Firehose


def delivery_streams(world):
    """A delivery stream as people make it: described, filled, and listed; its objects are looked at in the end."""
    firehose, name = world.firehose, "made-by-boto3"
    world.make_bucket("events")
    settings = {
        "RoleARN": ROLE,
        "BucketARN": "arn:aws:s3:::events",
        "Prefix": "danji/day=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/",
        "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
        "CompressionFormat": "GZIP",
        "CustomTimeZone": "Asia/Seoul",
    }
    make = lambda: firehose.create_delivery_stream(DeliveryStreamName=name, DeliveryStreamType="DirectPut", ExtendedS3DestinationConfiguration=settings)
    arn = make()["DeliveryStreamARN"]
    require(arn.startswith("arn:aws:firehose:") and arn.endswith(f":deliverystream/{name}"), f"DeliveryStreamARN: {arn}")
    describe = lambda: firehose.describe_delivery_stream(DeliveryStreamName=name)["DeliveryStreamDescription"]
    wait_for("the delivery stream is active", lambda: describe()["DeliveryStreamStatus"] == "ACTIVE")
    described = describe()
    expect((name, arn, "DirectPut", "1", False), tuple(described[key] for key in ["DeliveryStreamName", "DeliveryStreamARN", "DeliveryStreamType", "VersionId", "HasMoreDestinations"]), "DescribeDeliveryStream")
    require(abs(described["CreateTimestamp"] - datetime.now(timezone.utc)) < timedelta(minutes=1), "CreateTimestamp")
    (destination,) = described["Destinations"]
    require(destination["DestinationId"].startswith("destinationId-"), f"DestinationId: {destination['DestinationId']}")
    extended = destination["ExtendedS3DestinationDescription"]
    unmodelled = {"CustomTimeZone"} if world.is_moto else set()
    expect({key: value for key, value in settings.items() if key not in unmodelled}, {key: extended.get(key) for key in settings if key not in unmodelled}, "ExtendedS3DestinationDescription")
    if not world.is_moto:
        # AWS fills these in, and repeats what the older description had.
        expect({"NoEncryptionConfig": "NoEncryption"}, extended["EncryptionConfiguration"], "EncryptionConfiguration")
        older = destination["S3DestinationDescription"]
        shared = ["RoleARN", "BucketARN", "Prefix", "ErrorOutputPrefix", "BufferingHints", "CompressionFormat"]
        expect({key: settings[key] for key in shared}, {key: older.get(key) for key in shared}, "S3DestinationDescription")

    put = firehose.put_record(DeliveryStreamName=name, Record={"Data": b'{"n":0}'})
    require(put["RecordId"], "RecordId")
    ids = {put["RecordId"]}
    for batch in range(6):
        answer = firehose.put_record_batch(DeliveryStreamName=name, Records=[{"Data": json.dumps({"n": 1 + batch * 500 + at, "pad": "x" * 400}).encode()} for at in range(500)])
        expect((0, 500), (answer["FailedPutCount"], len(answer["RequestResponses"])), "PutRecordBatch")
        ids |= {one["RecordId"] for one in answer["RequestResponses"]}
    require(len(ids) == 3001 or world.is_moto, f"{len(ids)} different record ids for 3001 records")
    world.wanted_in_events = 3001

    listed = firehose.list_delivery_streams()
    expect((sorted([*world.delivery_streams, name]), False), (sorted(listed["DeliveryStreamNames"]), listed["HasMoreDeliveryStreams"]), "ListDeliveryStreams")
    direct = firehose.list_delivery_streams(DeliveryStreamType="DirectPut")["DeliveryStreamNames"]
    require(name in direct and STREAM not in direct, f"ListDeliveryStreams of DirectPut: {direct}")
    with refused(firehose, "ResourceInUseException", "CreateDeliveryStream of one that is there"):
        make()
    for what, call in {
        "DescribeDeliveryStream": lambda: firehose.describe_delivery_stream(DeliveryStreamName="nowhere"),
        "PutRecord": lambda: firehose.put_record(DeliveryStreamName="nowhere", Record={"Data": b"x"}),
        "PutRecordBatch": lambda: firehose.put_record_batch(DeliveryStreamName="nowhere", Records=[{"Data": b"x"}]),
        "DeleteDeliveryStream": lambda: firehose.delete_delivery_stream(DeliveryStreamName="nowhere"),
    }.items():
        with refused(firehose, "ResourceNotFoundException", f"{what} of a delivery stream that is not there"):
            call()


def bad_delivery(world):
    """Limits of Firehose, and settings that mean nothing."""
    firehose, name = world.firehose, f"{STREAM}-direct"
    large = b"x" * (1000 * 1024 + 1)
    bad_settings = lambda **settings: firehose.create_delivery_stream(
        DeliveryStreamName="no", ExtendedS3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::events", **settings})
    all_refused(world, firehose, [
        ("a record of more than 1,000 KiB", INVALID, lambda: firehose.put_record(DeliveryStreamName=name, Record={"Data": large})),
        ("501 records", INVALID, lambda: firehose.put_record_batch(DeliveryStreamName=name, Records=[{"Data": b"x"}] * 501)),
        ("more than 4 MiB", INVALID, lambda: firehose.put_record_batch(DeliveryStreamName=name, Records=[{"Data": large[1:]}] * 5)),
        ("a prefix that has no end", INVALID, lambda: bad_settings(Prefix="!{timestamp:", ErrorOutputPrefix="e/")),
        ("a bucket that is none", INVALID, lambda: bad_settings(BucketARN="arn:aws:s3:::../out")),
        ("a compression that is none", INVALID, lambda: bad_settings(CompressionFormat="RAR")),
        ("a zone that is none", INVALID, lambda: bad_settings(CustomTimeZone="Asia/Atlantis")),
    ])


def deletion(world):
    """A delivery stream that is deleted is gone; what was put before is delivered."""
    firehose, name = world.firehose, "short-lived"
    world.make_bucket("short")
    firehose.create_delivery_stream(DeliveryStreamName=name, ExtendedS3DestinationConfiguration={"RoleARN": ROLE, "BucketARN": "arn:aws:s3:::short"})
    firehose.put_record(DeliveryStreamName=name, Record={"Data": b'{"short":1}'})
    firehose.delete_delivery_stream(DeliveryStreamName=name)
    wait_for("it is gone", lambda: name not in firehose.list_delivery_streams()["DeliveryStreamNames"])
    with refused(firehose, "ResourceNotFoundException", "PutRecord after DeleteDeliveryStream"):
        firehose.put_record(DeliveryStreamName=name, Record={"Data": b"x"})


# ---------------------------------------------------------------- after the end


def kept(world):
    """Streams, records, iterators and delivery streams are there again when the pipeline is."""
    kinesis, name = world.kinesis, "kept"
    (shard,) = make_stream(kinesis, name, 1)
    numbers = [kinesis.put_record(StreamName=name, Data=str(number).encode(), PartitionKey="k")["SequenceNumber"] for number in range(4)]
    before = sorted(kinesis.list_streams()["StreamNames"]), sorted(world.firehose.list_delivery_streams()["DeliveryStreamNames"])
    arn = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"]
    at = iterator(kinesis, name, shard, "AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[0])
    world.restart()
    kinesis = world.kinesis
    after = sorted(kinesis.list_streams()["StreamNames"]), sorted(world.firehose.list_delivery_streams()["DeliveryStreamNames"])
    expect(before, after, "streams and delivery streams after a new start")
    expect(arn, kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamARN"], "the ARN after a new start")
    next_number = kinesis.put_record(StreamName=name, Data=b"4", PartitionKey="k")["SequenceNumber"]
    require(int(next_number) > int(numbers[-1]), "sequence numbers go on after a new start")
    expect([b"1", b"2", b"3", b"4"], data_of(read_from(kinesis, at)[0]), "an iterator from before the new start")


def delivered(world):
    """What Firehose was given lies in the buckets, each record once, named as it was told."""
    world.pipeline.end()
    root, seoul, seen = world.folder / "buckets/events", ZoneInfo("Asia/Seoul"), Counter()
    for key, path in objects(root).items():
        folder, _, name = key.rpartition("/")
        match = OBJECT_NAME.fullmatch(name)
        require(match and match["stream"] == "made-by-boto3" and match["extension"] == ".gz", f"the name of {key}")
        # The zone moves both the folder and the name.
        local = datetime.strptime(match["time"], "%Y-%m-%d-%H-%M-%S").replace(tzinfo=seoul)
        require(abs(local - datetime.now(timezone.utc)) < timedelta(minutes=10), f"the time of {key} in Seoul")
        expect(f"danji/day={local:%Y-%m-%d}/hour={local:%H}", folder, "the folder of an object")
        require(path.read_bytes()[:2] == b"\x1f\x8b", f"{key} is no gzip")
        seen.update(record["n"] for record in records(content(path.read_bytes())))
    expect(Counter(range(world.wanted_in_events)), seen, "records in the bucket, each once")
    expect([{"short": 1}], all_records(world.folder / "buckets/short"), "what a deleted delivery stream was given")
    found = [record for record in all_records(world.folder / "rawdata") if "by" in record]
    expect(sorted(map(json.dumps, world.wanted_in_rawdata)), sorted(map(json.dumps, found)), "what lies in rawdata")
    today = datetime.now(ZoneInfo("Asia/Seoul"))
    days = ["--from", f"{today - timedelta(days=1):%Y-%m-%d}", "--to", f"{today:%Y-%m-%d}", "--tz", "Asia/Seoul", "--prefix-tz", "Asia/Seoul"]
    layout = "danji/day=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/"
    lines = run(world.binary, world.folder, "cat", "--source", "buckets/events", "--layout", layout, *days).count("\n")
    expect(world.wanted_in_events, lines, "records that rawcat cat finds in the bucket")


def limits(world):
    """With --limits a shard takes 1 MB or 1,000 records a second: some of a batch fail, and only they are sent again."""
    world.restart("--limits")
    kinesis, name = world.kinesis, "limited"
    (shard,) = make_stream(kinesis, name, 1)
    left = [{"Data": f"{number:06d}".encode() + b"x" * 5_000, "PartitionKey": str(number)} for number in range(500)]
    wanted, answers, until = [entry["Data"] for entry in left], [], time.monotonic() + WAIT_SECONDS
    while left:
        require(time.monotonic() < until, f"after {WAIT_SECONDS} s {len(left)} of 500 records were never taken")
        answer = kinesis.put_records(StreamName=name, Records=left)
        failed = [(entry, result) for entry, result in zip(left, answer["Records"]) if "ErrorCode" in result]
        expect(len(failed), answer["FailedRecordCount"], "FailedRecordCount")
        for _, result in failed:
            expect("ProvisionedThroughputExceededException", result["ErrorCode"], "ErrorCode")
            require(shard in result["ErrorMessage"], f"ErrorMessage: {result['ErrorMessage']}")
            require("SequenceNumber" not in result and "ShardId" not in result, "a record that failed has no sequence number")
        answers.append((len(left), len(failed)))
        left = [entry for entry, _ in failed]
        time.sleep(0.25)
    first, refusals = answers[0]
    require(0 < refusals < first, f"of the first batch of {first} x 5 KB {refusals} failed; some should, and not all")
    found = data_of(read_from(kinesis, iterator(kinesis, name, shard))[0])
    expect(Counter(wanted), Counter(found), "after sending again what failed: each record once")

    codes, connection = Counter(), world.pipeline.connection()
    began = time.monotonic()
    for _ in range(12):
        try:
            kinesis.put_record(StreamName=name, Data=b"x" * 900_000, PartitionKey="k")
            codes["taken"] += 1
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            codes["refused"] += 1
    took = time.monotonic() - began
    require(codes["refused"] and codes["taken"] <= 2 + took, f"PutRecord of 900 KB within {took:.1f} s: {dict(codes)}")
    statuses = Counter(post(connection, json.dumps({"pad": "x" * 900_000}), headers={"x-partition-key": "k"})[0] for _ in range(12))
    connection.close()
    require(set(statuses) == {200, 429}, f"POSTs of 900 KB to one shard were answered with {dict(statuses)}")
    return f"batches and what failed of them: {answers}"


# ---------------------------------------------------------------- the parts


class World:
    """What the parts talk to."""

    is_moto = False
    wanted_in_events = 0

    def __init__(self, binary, folder):
        self.binary, self.folder, self.pipeline = binary, folder, None
        self.streams, self.delivery_streams = [STREAM], [STREAM, f"{STREAM}-direct"]
        self.wanted_in_rawdata = []
        self.restart()

    def restart(self, *options):
        """The pipeline on the same folder, anew."""
        if self.pipeline and self.pipeline.process.poll() is None:
            self.pipeline.end()
        self.pipeline = Pipeline(self.binary, self.folder, *options)
        self.kinesis, self.firehose = client("kinesis", self.pipeline.endpoint), client("firehose", self.pipeline.endpoint)

    def make_bucket(self, name):
        """Buckets are folders, and need no making."""

    def close(self):
        self.pipeline.kill()


class MotoWorld:
    """The same, in moto."""

    is_moto = True
    wanted_in_events = 0

    def __init__(self):
        from moto.server import ThreadedMotoServer

        # It would tell of each request.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self.server.start()
        endpoint = "http://{}:{}".format(*self.server.get_host_and_port())
        self.kinesis, self.firehose, self.s3 = (client(service, endpoint) for service in ["kinesis", "firehose", "s3"])
        self.streams, self.delivery_streams = [], []

    def make_bucket(self, name):
        self.s3.create_bucket(Bucket=name)

    def close(self):
        self.server.stop()


# In this order: what is delivered is looked at behind all that put something.
PARTS = [streams, puts, bad_puts, iterators, bad_iterators, consumers, protocol, defaults, delivery_streams, bad_delivery, deletion, kept, delivered, limits]
OF_MOTO = [streams, puts, bad_puts, iterators, bad_iterators, consumers, delivery_streams]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", type=Path, nargs="?", metavar="BINARY", help="the rawcat to run")
    parser.add_argument("--moto", action="store_true", help="ask moto instead")
    parser.add_argument("--only", metavar="PART", action="append", help=f"these parts alone: {', '.join(part.__name__ for part in PARTS)}")
    args = parser.parse_args()
    if bool(args.binary) == args.moto:
        parser.error("give the path of the binary, or --moto")
    folder = Path(tempfile.mkdtemp(prefix="rawcat-kinesis-"))
    failures = []
    world = None
    try:
        world = MotoWorld() if args.moto else World(args.binary.resolve(), folder)
        for part in OF_MOTO if args.moto else PARTS:
            if args.only and part.__name__ not in args.only:
                continue
            began = time.monotonic()
            try:
                said = part(world)
                print(f"{part.__name__}: as expected, {time.monotonic() - began:.1f} s{f'; {said}' if said else ''}", flush=True)
            except (Failed, ClientError, KeyError) as failed:
                failures.append(part.__name__)
                print(f"{part.__name__}: FAILED: {type(failed).__name__} {failed}", file=sys.stderr, flush=True)
    except Failed as failed:
        failures.append(str(failed))
    finally:
        if world:
            world.close()
    if failures:
        sys.exit(f"check_kinesis: not as expected: {', '.join(failures)}\nkept: {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
