"""Publishes a day of a delivery stream that lives in moto's servers of Firehose and S3, then sends rows to streams there.

    python tests/peers/check_stream.py <rawcat>

What rawcat knows of DescribeDeliveryStream is then tested against somebody else's reading of the service: the stream is
made by boto3, as people make theirs. What `send` puts is read by boto3, and by `cat`. Needs moto[server] and boto3.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}
UUID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
PREFIX = "raw/team=!{partitionKeyFromQuery:team}/!{timestamp:yyyy/MM/dd/HH}/"
# Team, hour of the prefix, and whether it is the 18th in Seoul.
OBJECTS = [("a", "2022/04/17/15", True), ("b", "2022/04/18/14", True), ("a", "2022/04/18/15", False)]


def main(rawcat: str) -> None:
    os.environ.update(KEYS, AWS_DEFAULT_REGION=KEYS["AWS_REGION"], AWS_EC2_METADATA_DISABLED="true")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        fill(endpoint)
        with tempfile.TemporaryDirectory() as folder:
            check(rawcat, endpoint, Path(folder))
            check_streams(rawcat, endpoint, Path(folder))
    finally:
        server.stop()


def fill(endpoint: str) -> None:
    s3 = boto3.client("s3", endpoint_url=endpoint)
    s3.create_bucket(
        Bucket="events", CreateBucketConfiguration={"LocationConstraint": KEYS["AWS_REGION"]}
    )
    for number, (team, hour, _) in enumerate(OBJECTS):
        name = f"s-1-{hour.replace('/', '-')}-10-00-{UUID}"
        body = json.dumps({"n": number}) * 2
        s3.put_object(Bucket="events", Key=f"raw/team={team}/{hour}/{name}", Body=body.encode())
    boto3.client("firehose", endpoint_url=endpoint).create_delivery_stream(
        DeliveryStreamName="events",
        DeliveryStreamType="DirectPut",
        ExtendedS3DestinationConfiguration={
            "RoleARN": "arn:aws:iam::123456789012:role/delivery",
            "BucketARN": "arn:aws:s3:::events",
            "Prefix": PREFIX,
            "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
            # AWS fills these in; moto answers with what it was given.
            "CompressionFormat": "UNCOMPRESSED",
            "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
            "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        },
    )


def check(rawcat: str, endpoint: str, folder: Path) -> None:
    line = "fetch --quiet --day 2022-04-18 --tz Asia/Seoul --by team --delivery-stream events"
    command = [rawcat, *line.split(), "--endpoint-url", endpoint, "--out", str(folder / "out")]
    subprocess.run(command, cwd=folder, check=True)
    manifest = json.loads((folder / "out/manifests/2022-04-18.json").read_text())
    wanted = 2 * sum(inside for _, _, inside in OBJECTS)
    found = (manifest["source"], manifest["options"]["layout"], manifest["records"]["day"])
    assert found == ("s3://events/", PREFIX, wanted), found
    missing = [word if word != "events" else "evnts" for word in command]
    missing = subprocess.run(missing, cwd=folder, capture_output=True, text=True, check=False)
    assert missing.returncode == 1 and "check its name" in missing.stderr, missing
    print(f"{found[2]} records of the day, from {found[0]} by {found[1]}")


def check_streams(rawcat: str, endpoint: str, folder: Path) -> None:
    kinesis = boto3.client("kinesis", endpoint_url=endpoint)
    kinesis.create_stream(StreamName="events", ShardCount=3)
    rows = [{"n": str(n), "site": f"한빛 {n % 7}"} for n in range(1_234)]
    text = "".join(f"{row['n']},{row['site']}\n" for row in rows)
    (folder / "rows.csv").write_text("n,site\n" + text, encoding="cp949")

    def run(line: str) -> str:
        command = [rawcat, *line.split(), "--endpoint-url", endpoint]
        return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout

    # moto loses records that two requests put at a time.
    for to in ("kinesis://events --partition-key site", "firehose://events"):
        told = run(f"send --file rows.csv --concurrency 1 --to {to}")
        assert "sent      1,234 rows" in told and "failed    0" in told, told
    put = {}
    for shard in kinesis.list_shards(StreamName="events")["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName="events", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for record in kinesis.get_records(ShardIterator=iterator, Limit=10_000)["Records"]:
            body = json.loads(record["Data"])
            assert record["PartitionKey"] == body["site"], record
            put[shard["ShardId"], record["SequenceNumber"]] = body
    assert sorted(put.values(), key=lambda row: int(row["n"])) == rows, len(put)
    lines = [json.loads(line) for line in run("cat kinesis://events").splitlines()]
    assert {(line["shard"], line["sequence"]): line["data"] for line in lines} == put
    s3 = boto3.client("s3", endpoint_url=endpoint)
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="events")["Contents"]]
    bodies = [s3.get_object(Bucket="events", Key=key)["Body"].read() for key in keys]
    delivered = sum(body.count("한빛".encode()) for body in bodies)
    assert delivered == len(rows), delivered
    print(f"{len(put)} records on a stream and {delivered} delivered, put by send and read by boto3 and cat")


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
