#!/usr/bin/env python3
"""Slow and idle clients must not keep others from `rawcat pipeline`.

    python3 tests/slow_clients.py target/release/rawcat
    python3 tests/slow_clients.py BINARY --idle 5000 --seconds 20 --slow 400

In goes the binary. One pipeline meets, one kind after another, the first for SECONDS, the others for a quarter of that:

- clients that send a request's head one line at a time, and never end it: they are cut off within HEAD_SECONDS;
- clients that announce a body and send it a byte at a time;
- connections that are opened and say nothing;
- clients that ask and never read the answer.

Meanwhile one client puts a record every 50 ms, each on the same connection, and one puts each on a new one. None of their
requests may fail, and 99 of 100 must be answered within --p99-ms (250). At the end all their records are delivered, and the
pipeline ends as it should. Out comes a line for each kind.

Exit code 0: nobody had to wait. 1: somebody had. 2: usage, or the limit of open files is too low.
Standard library only; traffic stays on this machine.
"""

import argparse
import json
import os
import resource
import select
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from local_pipeline import Failed, Pipeline, all_records, post

EVERY_SECONDS = 0.05
REQUEST_SECONDS = 10
CONNECT_SECONDS = 5
# A head that is not there by then will not come.
HEAD_SECONDS = 16
# Files besides the connections: logs, sockets of the honest clients, what Python has open.
OTHER_FILES = 200
HEAD = b"POST /PROD/v1 HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


class Honest:
    """A client that puts a record every 50 ms, and remembers how long each took."""

    def __init__(self, pipeline, name, keeps):
        self.pipeline, self.name, self.keeps = pipeline, name, keeps
        self.taken, self.seconds, self.failures = [], [], []
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self):
        connection, number, due = None, 0, time.monotonic()
        while not self.is_over.is_set():
            record = f"{self.name}-{number}"
            began = time.monotonic()
            try:
                connection = connection or self.pipeline.connection(REQUEST_SECONDS)
                status, answer = post(connection, json.dumps({"id": record}))
                if status != 200:
                    raise Failed(f"{status}: {answer[:200]!r}")
                self.taken.append(record)
                self.seconds.append(time.monotonic() - began)
            except Exception as error:  # noqa: BLE001: whatever it is, it must not happen
                self.failures.append(f"{record} after {time.monotonic() - began:.2f} s: {type(error).__name__} {error}")
                connection = None
            if connection and not self.keeps:
                connection.close()
                connection = None
            number += 1
            due = max(due + EVERY_SECONDS, time.monotonic() - EVERY_SECONDS)
            self.is_over.wait(max(0.0, due - time.monotonic()))

    def end(self):
        self.is_over.set()
        self.thread.join(2 * REQUEST_SECONDS)


# ---------------------------------------------------------------- the others


def connect(address):
    """A connection that does not block, or none where it is refused."""
    try:
        one = socket.create_connection(address, timeout=CONNECT_SECONDS)
    except OSError:
        return None
    one.setblocking(False)
    return one


def drip(address, count, until, beginning, pieces):
    """Keeps `count` connections that send `beginning` and then a piece each second. One that is closed comes back."""
    opened = closed = most = 0
    connections, turn = [], 0
    while time.monotonic() < until:
        while len(connections) < count and time.monotonic() < until:
            one = connect(address)
            if one is None:
                break
            opened += 1
            connections.append(one)
            try:
                one.send(beginning)
            except OSError:
                pass
        most = max(most, len(connections))
        alive = []
        for one in connections:
            try:
                if pieces:
                    one.send(pieces[turn % len(pieces)])
                alive.append(one)
            except BlockingIOError:
                alive.append(one)
            except OSError:
                closed += 1
                one.close()
        # A peer that closed is readable, and gives nothing or an answer that nobody wanted.
        poll = select.poll()
        for one in alive:
            poll.register(one, select.POLLIN | select.POLLRDHUP)
        ended = {number for number, event in poll.poll(0) if event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR)}
        connections = [one for one in alive if one.fileno() not in ended]
        for one in alive:
            if one.fileno() in ended:
                closed += 1
                one.close()
        turn += 1
        time.sleep(max(0.0, min(1.0, until - time.monotonic())))
    for one in connections:
        one.close()
    return opened, most, closed


def slow_heads(args, address, until):
    return drip(address, args.slow, until, HEAD, [b"x-a: b\r\n"])


def slow_bodies(args, address, until):
    return drip(address, args.slow, until, HEAD + b"content-length: 4096\r\n\r\n{", [b" "])


def idle(args, address, until):
    return drip(address, args.idle, until, b"", [])


def deaf(args, address, until):
    """Asks again and again, and reads nothing. A tenth as many: until its buffers are full, each makes honest work."""
    ask = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
    return drip(address, max(1, args.slow // 10), until, ask * 50, [ask * 50])


KINDS = {"slow heads": slow_heads, "slow bodies": slow_bodies, "idle connections": idle, "answers not read": deaf}


def quantile(seconds, share):
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1000


def meet(args, pipeline, kind, attack, seconds):
    """What honest clients saw while the others were there, which `attack` brings for so many seconds."""
    clients = [Honest(pipeline, f"{kind}-{name}", name == "kept") for name in ["kept", "new"]]
    time.sleep(0.3)
    opened, most, closed = attack(args, pipeline.address, time.monotonic() + seconds)
    for client in clients:
        client.end()
    took = [one for client in clients for one in client.seconds]
    failures = [failure for client in clients for failure in client.failures]
    if not took:
        raise Failed(f"{kind}: no record was taken: {failures[:3]}")
    return {
        "opened": opened, "most": most, "closed": closed, "records": len(took), "failures": failures,
        "p50_ms": quantile(took, 0.5), "p99_ms": quantile(took, 0.99), "longest_ms": quantile(took, 1),
        "taken": [record for client in clients for record in client.taken],
    }


def judge(args, kind, found):
    if found["failures"]:
        raise Failed(f"{kind}: {len(found['failures'])} requests of others failed: {found['failures'][:3]}")
    if found["p99_ms"] > args.p99_ms:
        raise Failed(f"{kind}: others waited {found['p99_ms']:.0f} ms (p99); at most {args.p99_ms:.0f} ms are allowed")


def check_kind(args, pipeline, kind):
    """Returns the records that were taken."""
    seconds = args.seconds if kind == "slow heads" else args.seconds / 4
    found = meet(args, pipeline, kind, KINDS[kind], seconds)
    print(
        f"{kind}: {found['opened']} connections, {found['most']} at a time, {found['closed']} of them closed by the pipeline; beside them "
        f"{found['records']} records taken, {len(found['failures'])} failed, p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms, "
        f"longest {found['longest_ms']:.0f} ms", flush=True,
    )
    judge(args, kind, found)
    if kind == "slow heads" and seconds > HEAD_SECONDS and found["closed"] < min(args.slow, found["most"]):
        raise Failed(f"{kind}: after {HEAD_SECONDS} s only {found['closed']} of {args.slow} connections were closed")
    return found["taken"]


def allow_files(wanted):
    """Raises the limit of open files of this process and its children."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return
        except (ValueError, OSError):
            sys.exit(f"slow_clients: {wanted} open files are needed, and {hard} are allowed: lower --idle, or raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("binary", type=Path, metavar="BINARY", help="the rawcat to run")
    parser.add_argument("--seconds", type=float, default=17, help="of the first kind; a quarter of it for the others (default: 17)")
    parser.add_argument("--slow", type=int, default=300, help="slow connections at a time (default: 300)")
    parser.add_argument("--idle", type=int, default=1_000, help="idle connections at a time (default: 1000)")
    parser.add_argument("--p99-ms", type=float, default=250, help="how long others may wait (default: 250)")
    parser.add_argument("--only", choices=KINDS, help="one kind alone")
    args = parser.parse_args()
    allow_files(max(args.idle, args.slow) + OTHER_FILES)
    work = Path(tempfile.mkdtemp(prefix="rawcat-slow-"))
    try:
        with Pipeline(args.binary.resolve(), work, "--buffer-time", "2s") as pipeline:
            taken = []
            for kind in [args.only] if args.only else KINDS:
                taken += check_kind(args, pipeline, kind)
            pipeline.end()
        found = sorted(record["id"] for record in all_records(work / "rawdata"))
        if not set(taken) <= set(found) or len(found) != len(set(found)):
            raise Failed(f"{len(taken)} records were taken, and {len(found)} delivered")
    except Failed as failed:
        sys.exit(f"slow_clients: {failed}\nkept: {work}")
    shutil.rmtree(work)
    print(f"{len(taken)} records taken and delivered")


if __name__ == "__main__":
    main()
