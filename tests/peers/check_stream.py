"""Publishes a day of a delivery stream that lives in moto's servers of Firehose and S3.

    python tests/peers/check_stream.py <rawcat>

What rawcat knows of DescribeDeliveryStream is then tested against somebody else's reading of the service: the stream is
made by boto3, as people make theirs. Needs moto[server] and boto3.
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


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
