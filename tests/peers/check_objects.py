#!/usr/bin/env python3
"""Objects of every compression that `rawcat pipeline` writes, read by decoders that are not ours, and by rawcat.

    python tests/peers/check_objects.py target/release/rawcat

In goes the binary; records and tables are made here or lie in sample_data/. For each compression, with and without
line feeds, records go by `rawcat send` to a pipeline and come out as objects. Then:

- names, folders and extensions are those that Firehose gives (<stream>-<version>-<time>-<uuid>, below its UTC hour);
- Python's gzip and zipfile, kafka-python (the stream of snappy-java) and python-snappy (Hadoop's blocks) decode them, and
  snappy-java itself where java and its jar are installed (Debian: libsnappy-java and a JDK; --need-java insists on it);
- every record is in them once, byte for byte as it was sent;
- `rawcat cat` prints the same, and what `rawcat fetch` publishes has the same values.

The same goes into a bucket of moto's, where objects must have the types and encodings that Firehose gives them. At last the two
tables of sample_data/danji*.csv are sent, and must come out as Python's csv module reads them.
Needs python-snappy, kafka-python, polars, boto3 and moto[server]. Exit code 0: all agree. 1: something differs; its folder is kept and named.
"""

import argparse
import csv
import gzip
import io
import json
import logging
import random
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
import zipfile
from base64 import b64encode
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import boto3
import polars
import snappy
from kafka.codec import snappy_decode
from moto.server import ThreadedMotoServer

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from local_pipeline import OBJECT_NAME, Failed, Pipeline, objects, run  # noqa: E402

RECORDS = 3_000
STREAM = "danji-stream-2"
BUFFER_BYTES = 300 << 10
SNAPPY_JAR = Path("/usr/share/java/snappy-java.jar")
JAVA_SECONDS = 120
# Decodes each file that it is given with the library that Firehose itself writes with, into FILE.decoded.
JAVA_DECODER = """
import java.io.*;
import java.nio.file.*;
import org.xerial.snappy.SnappyInputStream;

public class Decode {
    public static void main(String[] files) throws IOException {
        for (String file : files) {
            try (InputStream in = new SnappyInputStream(new FileInputStream(file))) {
                Files.write(Path.of(file + ".decoded"), in.readAllBytes());
            }
        }
    }
}
"""


# ---------------------------------------------------------------- decoders of others


def of_zip(stored):
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        (entry,) = archive.infolist()
        if entry.compress_type != zipfile.ZIP_DEFLATED or archive.testzip() is not None:
            raise Failed("the entry of the ZIP is not deflated, or damaged")
        if str(uuid.UUID(entry.filename)) != entry.filename:
            raise Failed(f"the entry of the ZIP is called {entry.filename}")
        return archive.read(entry)


def of_snappy_java(stored):
    if stored[:16] != b"\x82SNAPPY\0" + (1).to_bytes(4, "big") * 2:
        raise Failed(f"this is not how snappy-java begins: {stored[:16].hex()}")
    return snappy_decode(stored)


def of_hadoop(stored):
    # The decoder passes over the lengths of what is inside; Hadoop's own does not.
    at, lengths = 0, 0
    while at < len(stored):
        lengths += int.from_bytes(stored[at:at + 4], "big")
        at += 8 + int.from_bytes(stored[at + 4:at + 8], "big")
    decoder = snappy.HadoopStreamDecompressor()
    found = decoder.decompress(stored) + decoder.flush()
    if decoder.remains or at != len(stored) or lengths != len(found):
        raise Failed(f"lengths of blocks disagree: they say {lengths} bytes, and {len(found)} are there")
    return found


# The extension, the content encoding, and how it is decoded.
FORMS = {
    "none": ("", None, bytes),
    "gzip": (".gz", "gzip", gzip.decompress),
    "zip": (".zip", "zip", of_zip),
    "snappy": (".snappy", "snappy-java", of_snappy_java),
    # Delivered as .snappy, whatever the documentation says.
    "hadoop-snappy": (".snappy", "hadoop-snappy", of_hadoop),
}
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def check_by_java(folder, stored_and_found):
    """The objects once more, by snappy-java."""
    folder.mkdir()
    (folder / "Decode.java").write_text(JAVA_DECODER)
    files = []
    for number, (stored, _) in enumerate(stored_and_found):
        files.append(folder / f"{number}.snappy")
        files[-1].write_bytes(stored)
    command = ["java", "-cp", str(SNAPPY_JAR), str(folder / "Decode.java"), *map(str, files)]
    subprocess.run(command, check=True, timeout=JAVA_SECONDS)
    for file, (_, found) in zip(files, stored_and_found):
        if Path(f"{file}.decoded").read_bytes() != found:
            raise Failed(f"snappy-java reads other bytes than kafka-python: {file}")


# ---------------------------------------------------------------- what is sent


def make_lines():
    """Records as lines, of all that JSON can hold; some compress well, one does not at all."""
    draw = random.Random("rawcat objects 1")
    texts = ["래미안 101동", "똠방각하 펲시 뷁", "\\ud83d\\ude4f", '\\"따옴표\\" }{ ,', "탭\\t과 줄\\n", "", "x" * 200]
    lines = [
        f'{{"n":{number},"id":"{number:08d}","text":"{draw.choice(texts)}","deep":{{"a":[1,{{"b":null}}],"c":{draw.random():.6f}}}}}'
        for number in range(RECORDS)
    ]
    lines.append(f'{{"n":{RECORDS},"text":"{b64encode(draw.randbytes(290_000)).decode()}"}}')
    lines.append("{}")
    lines.append(f'{{ "n" : {RECORDS + 1}, "big" : 123456789012345678901234567890 }}')
    return lines


def split(found, has_newlines, key):
    """The records of an object, as bytes."""
    if has_newlines:
        if not found.endswith(b"\n"):
            raise Failed(f"{key} does not end with a line feed")
        return found[:-1].split(b"\n")
    text, decoder, at, records = found.decode(), json.JSONDecoder(), 0, []
    while at < len(text):
        _, end = decoder.raw_decode(text, at)
        records.append(text[at:end].encode())
        at = end
    return records


# ---------------------------------------------------------------- checks


def same(wanted, found, what):
    wanted, found = Counter(wanted), Counter(found)
    if wanted != found:
        missing, more = wanted - found, found - wanted
        example = [str(one)[:200] for one in [*missing, *more][:2]]
        raise Failed(f"{what}: {missing.total()} records are missing, {more.total()} are too many, such as {example}")


def check_name(key, extension, began):
    """A name as Firehose makes it, below the hour of its time, and of this run."""
    folder, _, name = key.rpartition("/")
    match = OBJECT_NAME.fullmatch(name)
    if not match or match["stream"] != STREAM or match["version"] != "1" or match["extension"] != extension:
        raise Failed(f"this is not the name of an object of {STREAM}, version 1, with {extension or 'no extension'}: {key}")
    time = datetime.strptime(match["time"], "%Y-%m-%d-%H-%M-%S").replace(tzinfo=timezone.utc)
    if folder != f"{time:%Y/%m/%d/%H}":
        raise Failed(f"the folder of {key} is not its hour")
    if not began - timedelta(seconds=1) <= time <= datetime.now(timezone.utc):
        raise Failed(f"{key} was not made now")


def days(began):
    """All of this run's records, which may lie on two days."""
    return ["--source", "rawdata", "--from", f"{began:%Y-%m-%d}", "--to", f"{datetime.now(timezone.utc):%Y-%m-%d}", "--tz", "UTC"]


def check_form(binary, folder, form, has_newlines, by_java):
    extension, _, decode = FORMS[form]
    lines = make_lines()
    (folder / "rows.ndjson").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    began = datetime.now(timezone.utc)
    options = ["--compression", form, "--buffer-size", str(BUFFER_BYTES), "--buffer-time", "10m", "--stream", STREAM, "--shards", "2"]
    with Pipeline(binary, folder, *options, *(["--newline"] if has_newlines else [])) as pipeline:
        run(binary, folder, "send", "--quiet", "--file", "rows.ndjson", "--url", pipeline.url, "--concurrency", "32")
        pipeline.end()
    stored_and_found, records = [], []
    for key, path in objects(folder / "rawdata").items():
        check_name(key, extension, began)
        stored = path.read_bytes()
        stored_and_found.append((stored, decode(stored)))
        records += split(stored_and_found[-1][1], has_newlines, key)
    ids = {key[len(key) - len(extension) - 36:len(key) - len(extension)] for key in objects(folder / "rawdata")}
    if len(stored_and_found) < 2 or len(ids) != len(stored_and_found):
        raise Failed(f"{len(stored_and_found)} objects with {len(ids)} ids, where buffers of {BUFFER_BYTES} bytes make several")
    if form != "none" and sum(len(stored) for stored, _ in stored_and_found) >= sum(len(found) for _, found in stored_and_found):
        raise Failed("compressed objects are not smaller")
    same((line.encode() for line in lines), records, "by others' decoders")
    if form == "snappy" and by_java:
        check_by_java(folder / "java", stored_and_found)

    printed = run(binary, folder, "cat", *days(began)).splitlines()
    same(lines, printed, "by rawcat cat")
    run(binary, folder, "fetch", "--quiet", "--out", "out", "--export", "records", *days(began))
    table = polars.concat([polars.read_parquet(path) for path in (folder / "out/records").rglob("*.parquet")], how="diagonal")
    values = [json.loads(line) for line in lines]
    same(((one.get("n"), one.get("text")) for one in values), table.select("n", "text").iter_rows(), "by rawcat fetch")
    print(f"{form}{', with line feeds' if has_newlines else ''}: {len(lines)} records in {len(stored_and_found)} objects agree", flush=True)


def check_bucket(binary, work):
    """Objects of each form in a bucket: what is told about them, and what they hold."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # It would tell of each request.
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        s3 = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        s3.create_bucket(Bucket="events")
        lines = [f'{{"n":{number},"text":"똠방각하"}}' for number in range(300)]
        for form, (extension, encoding, decode) in FORMS.items():
            folder = work / f"bucket-{form}"
            folder.mkdir()
            (folder / "rows.ndjson").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            began = datetime.now(timezone.utc)
            options = ["--deliver", f"s3://events/{form}/", "--endpoint-url", endpoint, "--compression", form, "--buffer-size", "4KiB", "--stream", STREAM, "--newline"]
            with Pipeline(binary, folder, *options, settings=KEYS) as pipeline:
                run(binary, folder, "send", "--quiet", "--file", "rows.ndjson", "--url", pipeline.url)
                pipeline.end()
            records = []
            for one in s3.list_objects_v2(Bucket="events", Prefix=f"{form}/").get("Contents", []):
                check_name(one["Key"].removeprefix(f"{form}/"), extension, began)
                answer = s3.get_object(Bucket="events", Key=one["Key"])
                told = answer["ContentType"], answer.get("ContentEncoding") or None
                if told != ("application/octet-stream", encoding):
                    raise Failed(f"{one['Key']} is told as {told}, instead of application/octet-stream and {encoding}")
                records += split(decode(answer["Body"].read()), True, one["Key"])
            same((line.encode() for line in lines), records, f"{form} in a bucket")
        print(f"in a bucket: types, encodings and {len(lines)} records of each form agree", flush=True)
    finally:
        server.stop()


def check_danji(binary, folder):
    """Both tables, by way of a pipeline, against Python's csv."""
    rows = list(csv.DictReader((REPOSITORY / "sample_data/danji-utf8.csv").open(encoding="utf-8-sig", newline="")))
    began = datetime.now(timezone.utc)
    with Pipeline(binary, folder, "--newline") as pipeline:
        for name in ["danji.csv", "danji-utf8.csv"]:
            run(binary, folder, "send", "--quiet", "--file", REPOSITORY / "sample_data" / name, "--url", pipeline.url)
        pipeline.end()
    printed = run(binary, folder, "cat", *days(began)).splitlines()
    same([json.dumps(row, ensure_ascii=False) for row in rows * 2], [json.dumps(json.loads(line), ensure_ascii=False) for line in printed], "danji")
    print(f"danji.csv and danji-utf8.csv: {len(rows)} rows each agree")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", type=Path, metavar="BINARY", help="the rawcat to run")
    parser.add_argument("--need-java", action="store_true", help="fail where java or snappy-java are missing")
    args = parser.parse_args()
    by_java = SNAPPY_JAR.exists() and shutil.which("java") is not None
    if args.need_java and not by_java:
        parser.error(f"java or {SNAPPY_JAR} is missing; on Debian: apt-get install default-jdk-headless libsnappy-java")
    if not by_java:
        print(f"without snappy-java itself, as java or {SNAPPY_JAR} is missing")
    binary, work = args.binary.resolve(), Path(tempfile.mkdtemp(prefix="rawcat-objects-"))
    folder = work
    try:
        for form in FORMS:
            for has_newlines in [True, False]:
                folder = work / re.sub(r"\W", "-", f"{form} {has_newlines}")
                folder.mkdir()
                check_form(binary, folder, form, has_newlines, by_java)
        folder = work
        if "s3://" in run(binary, work, "pipeline", "--help"):
            check_bucket(binary, work)
        else:
            print("without a bucket, as this binary delivers to folders alone")
        folder = work / "danji"
        folder.mkdir()
        check_danji(binary, folder)
    except Failed as failed:
        sys.exit(f"check_objects: {failed}\nkept: {folder}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
