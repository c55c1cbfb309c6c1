"""A `rawcat pipeline` of its own for a test: started on a free port of this machine, and ended by its process id.

    with Pipeline(binary, folder, "--newline", "--buffer-size", "64KiB") as pipeline:
        print(pipeline.url)          # http://127.0.0.1:40123/PROD/v1, once it listens
        pipeline.end()               # as Ctrl-C: what is buffered is delivered

In goes the path of the binary, an empty folder, and options; out come a running pipeline and what it put into the
folder: `rawdata/` (objects), `buckets/` (of delivery streams that were made), `pipeline/` (its state), `messages.txt`.
For the scripts of tests/ and benches/, which say how they are run; by itself it does nothing. Standard library only.
"""

import gzip
import http.client
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

START_SECONDS = 20
END_SECONDS = 60
REQUEST_SECONDS = 30
LISTENS = re.compile(r"http://([0-9.]+):(\d+)/")
# What object names look like: <stream>-<version>-<time>-<uuid>, and an extension.
OBJECT_NAME = re.compile(
    r"(?P<stream>.+)-(?P<version>\d+)-(?P<time>\d{4}-\d{2}-\d{2}-\d{2}-\d{2}-\d{2})-"
    r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?P<extension>(?:\.[a-z]+)?)"
)


class Failed(Exception):
    """A promise that the pipeline broke."""


def environment():
    """No settings from outside: neither RAWCAT_… nor AWS_… nor a user's own configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAWCAT_", "AWS_"))}
    return {**kept, "NO_COLOR": "1", "AWS_EC2_METADATA_DISABLED": "true"}


def run(binary, folder, *words, codes=(0,), seconds=600, settings=None):
    """What another command of rawcat prints, run in the folder."""
    command = [str(binary), *map(str, words)]
    ran = subprocess.run(command, cwd=folder, env={**environment(), **(settings or {})}, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    if ran.returncode not in codes:
        raise Failed(f"`rawcat {' '.join(map(str, words))}` ended with {ran.returncode}:\n{ran.stderr.decode(errors='replace')[-2000:]}")
    return ran.stdout.decode()


class Pipeline:
    """Starts at once; who needs it to listen asks for `url`, `endpoint` or `address`. `settings` are variables of its own."""

    def __init__(self, binary, folder, *options, settings=None):
        self.folder = Path(folder)
        self.messages = self.folder / "messages.txt"
        self.started = time.monotonic()
        self.found = None
        self.is_ending = False
        command = [str(binary), "pipeline", "--listen", "127.0.0.1:0", *map(str, options)]
        with open(self.messages, "wb") as messages:
            self.process = subprocess.Popen(command, cwd=folder, env={**environment(), **(settings or {})}, stdin=subprocess.DEVNULL, stdout=messages, stderr=messages)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    @property
    def address(self):
        """(host, port), once it listens."""
        while self.found is None:
            match = LISTENS.search(self.said())
            if match:
                self.found = match.group(1), int(match.group(2))
                break
            if self.process.poll() is not None:
                raise Failed(f"the pipeline ended with {self.process.returncode} before it listened:\n{self.said()[-2000:]}")
            if time.monotonic() - self.started > START_SECONDS:
                raise Failed(f"the pipeline does not listen after {START_SECONDS} s:\n{self.said()[-2000:]}")
            time.sleep(0.003)
        return self.found

    @property
    def endpoint(self):
        return "http://{}:{}".format(*self.address)

    @property
    def url(self):
        return f"{self.endpoint}/PROD/v1"

    def said(self):
        return self.messages.read_text(encoding="utf-8", errors="replace")

    def connection(self, seconds=REQUEST_SECONDS):
        return http.client.HTTPConnection(*self.address, timeout=seconds)

    def kill(self):
        """SIGKILL; nothing where it has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def interrupt(self):
        self.is_ending = True
        self.process.send_signal(signal.SIGINT)

    def end(self):
        """Ends it as Ctrl-C does: what is buffered is delivered, and the exit code is 0. Returns the seconds."""
        self.address  # Before it listens it may not mind the signal yet.
        began = time.monotonic()
        self.interrupt()
        try:
            code = self.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"the pipeline did not end within {END_SECONDS} s of SIGINT:\n{self.said()[-2000:]}") from None
        if code != 0:
            raise Failed(f"the pipeline ended with {code} after SIGINT:\n{self.said()[-2000:]}")
        return time.monotonic() - began


# ---------------------------------------------------------------- requests


def post(connection, body, path="/PROD/v1", headers=None):
    """(status, body) of a POST of text or bytes."""
    body = body.encode() if isinstance(body, str) else body
    connection.request("POST", path, body, {"content-type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    return answer.status, answer.read()


def call(connection, service, operation, request, more_headers=None):
    """(status, answer) of an operation of the protocol that Kinesis and Firehose speak, unsigned."""
    target = {"kinesis": "Kinesis_20131202", "firehose": "Firehose_20150804"}[service]
    headers = {"x-amz-target": f"{target}.{operation}", "content-type": "application/x-amz-json-1.1", **(more_headers or {})}
    status, body = post(connection, json.dumps(request), "/", headers)
    return status, json.loads(body or b"{}")


# ---------------------------------------------------------------- objects


def objects(root):
    """{key: path} of what lies in a folder of objects; what is staged below `.rawcat/` is none."""
    found = {}
    for folder, folders, names in os.walk(root):
        if ".rawcat" in folders:
            folders.remove(".rawcat")
        for name in names:
            path = Path(folder, name)
            found[path.relative_to(root).as_posix()] = path
    return dict(sorted(found.items()))


def staged(root):
    """Everything below folders called `.rawcat` or `staged`: at rest there is nothing."""
    found = [path for path in Path(root).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(root)) for path in found if {".rawcat", "staged"} & set(path.relative_to(root).parts))


def content(stored):
    """The bytes of an object, plain or gzip. Other forms are left to decoders of other people."""
    return gzip.decompress(stored) if stored[:2] == b"\x1f\x8b" else stored


def records(data):
    """The JSON values of a text in which they stand one after another, with or without white space between."""
    text, decoder, at, found = data.decode(), json.JSONDecoder(), 0, []
    while at < len(text):
        if text[at] in " \t\r\n":
            at += 1
            continue
        value, at = decoder.raw_decode(text, at)
        found.append(value)
    return found


def all_records(root):
    return [record for path in objects(root).values() for record in records(content(path.read_bytes()))]
