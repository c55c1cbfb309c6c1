"""Traces records through delivery streams whose metrics and error logs lie in moto's CloudWatch.

    python tests/peers/check_cloudwatch.py <rawcat>

Metrics and log events are put by boto3, as Firehose would; objects, too. Then `rawcat trace --mark` must say what can be said
of them: counts that are bounds, counts that come late, and the error that was logged. Needs moto[server] and boto3, and is
skipped where rawcat was built without the feature `cloudwatch`.

The SDK of Rust speaks CBOR with CloudWatch, and moto knows the older protocols alone. So a door in front of it translates, by
botocore's own encoder and decoder.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
from botocore.exceptions import ClientError
from botocore.parsers import RpcV2CBORParser
from botocore.serialize import RpcV2CBORSerializer
from moto.server import ThreadedMotoServer

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "eu-west-1"}
UUID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
COUNT = 4
SENT = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(minutes=3)
MARK = f"{SENT:%Y%m%dT%H%M%SZ}-0123456789ab"


def main(rawcat: str) -> None:
    os.environ.update(KEYS, AWS_DEFAULT_REGION=KEYS["AWS_REGION"], AWS_EC2_METADATA_DISABLED="true")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        Check(rawcat, f"http://{host}:{port}").run()
    finally:
        server.stop()


def door(endpoint: str, secrets: dict[str, str]) -> ThreadingHTTPServer:
    """CBOR → moto → CBOR, in the name of who asks."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            parser, serializer = RpcV2CBORParser(), RpcV2CBORSerializer()
            asked = parser.parse_data_item(parser.get_peekable_stream_from_bytes(body))
            assert self.path == "/service/GraniteServiceVersion20100801/operation/GetMetricData", self.path
            key = self.headers["authorization"].split("Credential=")[1].split("/")[0]
            client = boto3.client(
                "cloudwatch", endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secrets[key]
            )
            answer = bytearray()
            try:
                found = client.get_metric_data(**asked)
                found.pop("ResponseMetadata")
                shape = client.meta.service_model.operation_model("GetMetricData").output_shape
                serializer._serialize_data_item(answer, found, shape)
                status = 200
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                told = error.response["Error"]
                # What moto refuses it says in XML, whatever the protocol.
                code = "AccessDenied" if "AccessDenied" in told["Message"] else told["Code"]
                answer += b"\xa2"
                for text in ("__type", f"com.amazonaws.cloudwatch#{code}", "message", told["Message"]):
                    serializer._serialize_type_string(answer, text, None, None)
            self.send_response(status)
            self.send_header("smithy-protocol", "rpc-v2-cbor")
            self.send_header("content-type", "application/cbor")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Check:
    def __init__(self, rawcat: str, endpoint: str) -> None:
        self.rawcat, self.endpoint = rawcat, endpoint
        self.secrets = {KEYS["AWS_ACCESS_KEY_ID"]: KEYS["AWS_SECRET_ACCESS_KEY"]}
        port = door(endpoint, self.secrets).server_address[1]
        os.environ["AWS_ENDPOINT_URL_CLOUDWATCH"] = f"http://127.0.0.1:{port}"
        self.cloudwatch, self.logs, self.s3, self.iam = (
            boto3.client(name, endpoint_url=endpoint) for name in ("cloudwatch", "logs", "s3", "iam")
        )

    def run(self) -> None:
        region = {"LocationConstraint": KEYS["AWS_REGION"]}
        for bucket in ("empty", "full"):
            self.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=region)
        records = "".join(
            json.dumps({"rawcat_trace": MARK, "n": n, "sent_at": SENT.isoformat()}) for n in range(COUNT)
        )
        key = f"raw/{SENT:%Y/%m/%d/%H}/events-1-{SENT:%Y-%m-%d-%H-%M-%S}-{UUID}"
        self.s3.put_object(Bucket="full", Key=key, Body=records.encode())

        document, hop = self.traced("events", "empty")
        if not hop["asked"] and "--features cloudwatch" in hop["reason"]:
            print(f"skipped, this rawcat was built without the feature: {hop['reason']}")
            return
        self.counts(document, hop)
        self.late()
        self.logged()
        self.denied()
        print("counts of CloudWatch are bounds, late ones no losses, and logged errors are shown")

    def traced(self, name: str, bucket: str, **environment: str) -> tuple[dict, dict]:
        line = f"trace --json --quiet --wait 1s --mark {MARK} --count {COUNT} --delivery-stream {name}"
        command = [self.rawcat, *line.split(), "--source", f"s3://{bucket}/raw/", "--endpoint-url", self.endpoint]
        with tempfile.TemporaryDirectory() as folder:
            ran = subprocess.run(
                command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
            )
        assert ran.returncode in (0, 3), ran
        document = json.loads(ran.stdout)
        assert document["complete"] == (ran.returncode == 0), document
        return document, next(hop for hop in document["hops"] if hop["hop"] == "delivery")

    def put(self, name: str, metric: str, minute: int, value: float) -> None:
        dimensions = [{"Name": "DeliveryStreamName", "Value": name}]
        datum = {"MetricName": metric, "Dimensions": dimensions, "Value": value}
        datum["Timestamp"] = SENT + timedelta(minutes=minute)
        self.cloudwatch.put_metric_data(Namespace="AWS/Firehose", MetricData=[datum])

    def counts(self, document: dict, hop: dict) -> None:
        # Nothing is known of the stream, and its log is not there.
        assert (document["lost_at"], hop["records"], hop["at_most"]) == ("delivery", 0, True), document
        assert hop["cloudwatch"]["delivered"] is None, hop
        assert "there is no /aws/kinesisfirehose/events" in document["verdict"], document
        # Before sending, of another stream, and of others who send to this one.
        self.put("events", "DeliveryToS3.Records", -30, 100)
        self.put("other", "DeliveryToS3.Records", 1, 100)
        self.put("events", "DeliveryToS3.Records", 0, 1)
        self.put("events", "DeliveryToS3.Records", 1, 2)
        self.put("events", "DataReadFromKinesisStream.Records", 1, 9)
        self.put("events", "DeliveryToS3.Success", 0, 1)
        self.put("events", "DeliveryToS3.Success", 1, 0)
        self.put("events", "DeliveryToS3.DataFreshness", 0, 300)
        self.put("events", "DeliveryToS3.DataFreshness", 1, 62)
        document, hop = self.traced("events", "empty")
        told = {
            "since": SENT.replace(second=0).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "delivered": 3, "taken_in": 9, "success": 0.0, "oldest_s": 62.0,
        }
        assert (hop["records"], hop["cloudwatch"]) == (3, told), hop
        assert document["lost_at"] == "delivery" and "at least 1 record lost" in document["verdict"], document
        self.put("events", "DeliveryToS3.Records", 2, 5_000)
        document, hop = self.traced("events", "empty")
        assert (hop["records"], hop["cloudwatch"]["delivered"]) == (COUNT, 5_003), hop
        assert document["lost_at"] == "object" and "whoever sent them" in document["verdict"], document

    def late(self) -> None:
        for name, delivered in (("late", None), ("other", 100)):
            document, hop = self.traced(name, "full")
            assert document["complete"] and "up to reading back" in document["verdict"], document
            assert (hop["at_most"], hop["cloudwatch"]["delivered"]) == (delivered is not None, delivered), hop

    def logged(self) -> None:
        group = "/aws/kinesisfirehose/events"
        self.logs.create_log_group(logGroupName=group)
        for stream in ("DestinationDelivery", "BackupDelivery"):
            self.logs.create_log_stream(logGroupName=group, logStreamName=stream)
        document, _ = self.traced("events", "empty")
        assert f"{group} has no error since sending" in document["verdict"], document
        for minute, stream, code in (
            (-10, "DestinationDelivery", "S3.TooOld"),
            (1, "BackupDelivery", "S3.NotNewest"),
            (2, "DestinationDelivery", "S3.AccessDenied"),
        ):
            message = {"deliveryStreamARN": "arn", "message": "Access was denied.\u001b[2J", "errorCode": code}
            at = int((SENT + timedelta(minutes=minute)).timestamp() * 1000)
            self.logs.put_log_events(
                logGroupName=group, logStreamName=stream,
                logEvents=[{"timestamp": at, "message": json.dumps(message)}],
            )
        document, _ = self.traced("events", "empty")
        assert "events logged S3.AccessDenied: Access was denied.\\u{1b}[2J (" in document["verdict"], document

    def denied(self) -> None:
        # A user who may do all but this.
        self.iam.create_user(UserName="reader")
        rights = {"Effect": "Allow", "Action": ["s3:*", "firehose:*"], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [rights]})
        self.iam.put_user_policy(UserName="reader", PolicyName="reads", PolicyDocument=policy)
        key = self.iam.create_access_key(UserName="reader")["AccessKey"]
        keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        self.secrets[key["AccessKeyId"]] = key["SecretAccessKey"]
        # From here on, moto asks what each user may.
        plain = {"content-type": "text/plain"}
        ask = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", b"0", plain)
        urllib.request.urlopen(ask).close()
        for bucket, lost_at in (("full", None), ("empty", "object")):
            document, hop = self.traced("events", bucket, **keys)
            assert document["lost_at"] == lost_at, document
            assert not hop["asked"] and "cloudwatch:GetMetricData" in hop["reason"], hop
        assert "logs:FilterLogEvents" in document["verdict"], document


if __name__ == "__main__":
    main(os.path.abspath(sys.argv[1]))
