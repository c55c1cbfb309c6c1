#!/usr/bin/env python3
"""Makes a big day of Firehose-like objects, for measuring.

    python3 benches/gen_day.py day                                   # 1.4 GB: 6 objects of 5 MB an hour, 48 hours
    python3 benches/gen_day.py day-gz --gzip
    python3 benches/gen_day.py wide --shape wide --objects-per-hour 2
    python3 benches/gen_day.py tiny --objects-per-hour 2000 --mb-per-object 0.005

The hours are UTC, from 2022-04-17 00 on, so that `--day 2022-04-18 --tz Asia/Seoul` has all it needs.
Records are glued without a delimiter. Deterministic: an object's bytes depend on the seed, its hour and
its number only, not on `--jobs` or on the other objects.

narrow: value (a number as text), type of 12, ts, user_id, session, device{os,ver}, danji{id,name,lat,lon}, ok.
wide:   60 fields: numbers, text with escapes, long Korean text, nested objects and lists, optional fields;
        the order of the keys changes every few records.

Fast because nothing is formatted per record: fields are drawn from pools of ready bytes, column by column,
and joined once. Needs nothing but the standard library of Python 3.9 or later.
"""

import argparse
import json
import multiprocessing
import os
import random
import sys
import time
import uuid
import zlib
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from itertools import chain
from pathlib import Path

DANJI = ["래미안퍼스티지", "헬리오시티", "잠실엘스", "반포자이", "은마", "마포래미안푸르지오", "목동신시가지7단지", "올림픽선수기자촌"]
SYSTEMS = ["ios", "android", "web"]
SENTENCES = [
    "어젯밤 열한 시부터 윗집에서 발소리가 계속 들려서 잠을 이루지 못했습니다.",
    "지하 2층 주차장 기둥 옆에 차가 겹쳐 있어서 나갈 수 없습니다.",
    "관리비 고지서의 난방 요금이 지난달보다 두 배로 나왔는데 확인 부탁드립니다.",
    "택배가 다른 동 경비실에 잘못 맡겨졌다고 합니다.",
    "엘리베이터 점검은 화요일 오전 열 시부터 정오까지입니다.",
    "분리수거장 조명이 꺼져 있어서 저녁에는 앞이 보이지 않습니다.",
]
# What json.dumps would write differently from raw UTF-8: escapes that a reader must undo.
ESCAPED = ['"인용"', "줄\n바꿈", "탭\t", "C:\\파일\\목록", "끝/시작", "\u2028", "\U0001f3e2 동", "\x07"]


def compact(value, ascii_only=False):
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")).encode()


def hex_words(rng, count, bytes_each=8):
    """`count` unique-looking hex words."""
    text, width = rng.randbytes(count * bytes_each).hex().encode(), 2 * bytes_each
    return [text[at:at + width] for at in range(0, count * width, width)]


@lru_cache(maxsize=None)
def clock():
    """`MM:SS.mmm` for every millisecond of an hour, as two pools: seconds and milliseconds."""
    return [b"%02d:%02d." % divmod(second, 60) for second in range(3600)], [b"%03d" % ms for ms in range(1000)]


def times(rng, count, start, span):
    """RFC 3339 texts, uniform over [start, start + span)."""
    seconds, thousandths = clock()
    hour, span_ms = start.strftime("%Y-%m-%dT%H:").encode(), int(span.total_seconds() * 1000)
    first_ms = (start.minute * 60 + start.second) * 1000
    draw = rng.random
    picked = (divmod(first_ms + int(draw() * span_ms), 1000) for _ in range(count))
    return [b"%b%b%bZ" % (hour, seconds[second], thousandths[ms]) for second, ms in picked]


class Narrow:
    """Records of eight fields, about 230 bytes each."""

    def __init__(self):
        self.heads = [
            b'{"value":"%d.%d","type":"Tip %d","ts":"' % (tenths // 10, tenths % 10, kind)
            for tenths in range(1000) for kind in range(1, 13)
        ]
        self.devices = [
            b'","device":{"os":"%b","ver":"%d.%d"},"danji":{"id":%d,"name":"%b","lat":37.' % (
                system.encode(), major, minor, number, name.encode())
            for system in SYSTEMS for major in range(9, 17) for minor in range(10)
            for number, name in enumerate(DANJI)
        ]
        self.users = [b'","user_id":%d,"session":"' % user for user in range(1_000_000)]
        self.lats = [b'%06d,"lon":' % fraction for fraction in range(400_000, 700_000)]
        self.lons = [b"%d.%06d" % divmod(micro, 1_000_000) for micro in range(126_800_000, 127_200_000)]
        self.ends = [b'},"ok":true}'] * 97 + [b'},"ok":false}'] * 3

    def records(self, rng, count, start, span):
        pick = lambda pool: rng.choices(pool, k=count)
        rows = zip(
            pick(self.heads), times(rng, count, start, span), pick(self.users), hex_words(rng, count),
            pick(self.devices), pick(self.lats), pick(self.lons), pick(self.ends),
        )
        return b"".join(chain.from_iterable(rows))


class Wide:
    """Records of 60 fields, about 2.5 kB each."""

    ORDERS = 24
    # Fields whose values hardly repeat in real records have so many that a dictionary of them does not pay.
    POOL, LARGE_POOL = 4096, 40_000
    LARGE = ("count_", "score_", "text_", "code_", "nested_")

    def __init__(self):
        rng = random.Random("wide pools")
        text = lambda: " ".join(rng.choice(SENTENCES) for _ in range(rng.randrange(1, 5)))
        makers = {}
        for i in range(12):
            makers[f"count_{i}"] = lambda: rng.randrange(10 ** rng.randrange(1, 12))
            makers[f"score_{i}"] = lambda: round(rng.uniform(-1000, 1000), rng.randrange(1, 9))
        for i in range(6):
            makers[f"flag_{i}"] = lambda: rng.random() < 0.5
            makers[f"text_{i}"] = lambda: f"{rng.choice(DANJI)} {rng.choice(ESCAPED)} {rng.randrange(10_000)}"
            makers[f"code_{i}"] = lambda: f"{rng.getrandbits(40):010x}"
        for i in range(4):
            makers[f"long_{i}"] = text
            makers[f"tags_{i}"] = lambda: [rng.choice(DANJI) for _ in range(rng.randrange(5))]
        for i in range(3):
            makers[f"nested_{i}"] = lambda: {
                "id": rng.getrandbits(50), "at": {"lat": round(rng.uniform(37.4, 37.7), 6), "lon": round(rng.uniform(126.8, 127.2), 6)},
                "note": None if rng.random() < 0.5 else rng.choice(ESCAPED),
            }
            makers[f"path_{i}"] = lambda: [[rng.randrange(100), rng.randrange(100)] for _ in range(rng.randrange(4))]
        makers["value"] = lambda: f"{rng.randrange(1000) / 10}"
        makers["type"] = lambda: f"Tip {rng.randrange(1, 13)}"
        assert len(makers) == 58, len(makers)  # with ts and session: 60
        self.pools = []
        for name, make in makers.items():
            pool = []
            for _ in range(self.LARGE_POOL if name.startswith(self.LARGE) else self.POOL):
                ascii_only = rng.random() < 0.1
                pool.append(b'"%b":%b' % (name.encode(), compact(make(), ascii_only)))
            self.pools.append(pool)
        self.needed = 56  # from here on: value, type, ts, session
        columns = list(range(60))
        self.orders = [columns[:]]
        while len(self.orders) < self.ORDERS:
            # Producers differ by a few keys that moved, and now and then in everything.
            order = self.orders[-1][:]
            if len(self.orders) % 6 == 0:
                rng.shuffle(order)
            else:
                order.insert(rng.randrange(60), order.pop(rng.randrange(60)))
            self.orders.append(order)

    def records(self, rng, count, start, span):
        columns = [rng.choices(pool, k=count) for pool in self.pools]
        columns.append([b'"ts":"%b"' % text for text in times(rng, count, start, span)])
        columns.append([b'"session":"%b"' % word for word in hex_words(rng, count)])
        out, at = [], 0
        while at < count:
            end = min(count, at + 1 + int(rng.expovariate(1 / 40)))
            order = rng.choice(self.orders)
            if rng.random() < 0.2:  # all but the first 40 fields of an order and the needed ones are optional
                end_of_kept = rng.randrange(40, 60)
                order = [column for place, column in enumerate(order) if place < end_of_kept or column >= self.needed]
            out += [b"{%b}" % b",".join(row) for row in zip(*(columns[column][at:end] for column in order))]
            at = end
        return b"".join(out)


SHAPES = {"narrow": Narrow, "wide": Wide}


@lru_cache(maxsize=None)
def shape_of(name):
    """The shape with its pools, made once per process, and its mean record length in bytes."""
    shape = SHAPES[name]()
    sample = 500
    noon = datetime(2022, 4, 18, 12, tzinfo=timezone.utc)
    return shape, len(shape.records(random.Random("length"), sample, noon, timedelta(hours=1))) / sample


def gzip_member(data):
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00" + body + zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")


def write_hour(task):
    """Writes the objects of one hour; returns (objects, stored bytes, decoded bytes, records)."""
    args, hour = task
    shape, length = shape_of(args.shape)
    count = max(1, round(args.mb_per_object * 1e6 / length))
    span = timedelta(hours=1) / args.objects_per_hour
    folder = args.out / "rawdata" / hour.strftime("%Y/%m/%d/%H")
    folder.mkdir(parents=True, exist_ok=True)
    stored = decoded = 0
    for number in range(args.objects_per_hour):
        rng = random.Random(f"{args.seed}/{args.shape}/{hour:%Y%m%d%H}/{number}")
        opened = hour + span * number
        body = shape.records(rng, count, opened.replace(microsecond=0), span)
        decoded += len(body)
        body = gzip_member(body) if args.gzip else body
        stored += len(body)
        name = f"study-stream-1-{opened:%Y-%m-%d-%H-%M-%S}-{uuid.UUID(int=rng.getrandbits(128), version=4)}"
        (folder / (name + (".gz" if args.gzip else ""))).write_bytes(body)
    return args.objects_per_hour, stored, decoded, count * args.objects_per_hour


def positive(kind):
    def parse(text):
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value
    return parse


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder that is new or empty; rawdata/ is made in it")
    parser.add_argument("--objects-per-hour", type=positive(int), default=6, help="in each hour (default: %(default)s)")
    parser.add_argument("--mb-per-object", type=positive(float), default=5.0, help="decoded size in 10^6 bytes (default: %(default)s)")
    parser.add_argument("--gzip", action="store_true", help="gzip objects, level 6")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="narrow", help="the fields of a record: few, or many and nested (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="the same seed gives the same bytes (default: %(default)s)")
    parser.add_argument("--first-hour", default="2022-04-17T00", help="the first UTC hour (default: %(default)s)")
    parser.add_argument("--hours", type=positive(int), default=48, help="UTC hours (default: %(default)s, which hold a day of any zone)")
    parser.add_argument("--jobs", type=positive(int), default=min(2, os.cpu_count() or 1), help="processes; they don't change the bytes (default: %(default)s)")
    args = parser.parse_args()
    try:
        args.first = datetime.strptime(args.first_hour, "%Y-%m-%dT%H").replace(tzinfo=timezone.utc)
    except ValueError:
        parser.error(f"--first-hour {args.first_hour}: not of the form 2022-04-17T00")
    if (args.out / "rawdata").exists():
        parser.error(f"{args.out / 'rawdata'} exists; name a new folder, so that two days never mix")
    return args


def main():
    args = parse_args()
    started = time.monotonic()
    tasks = [(args, args.first + timedelta(hours=hour)) for hour in range(args.hours)]
    with multiprocessing.Pool(args.jobs) as pool:
        done = [sum(column) for column in zip(*pool.imap_unordered(write_hour, tasks))]
    seconds = time.monotonic() - started
    print(f"{done[0]:,} objects, {done[3]:,} records, {done[1]:,} bytes stored, {done[2]:,} decoded, in {seconds:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
