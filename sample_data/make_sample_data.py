#!/usr/bin/env python3
"""Makes the sample objects: three days of a service for tips about apartment complexes in Seoul.

    python3 sample_data/make_sample_data.py                  # writes sample_data/rawdata/
    python3 sample_data/make_sample_data.py --check          # compares what is there, writes nothing
    python3 sample_data/make_sample_data.py --truth t.json   # also what was meant: counts and damage

Two Firehose streams are simulated: `study-stream` (the app) and `study-stream-2` (the web desk).
Events get an arrival time, arrivals are buffered, a buffer becomes an object that is filed under the
UTC hour in which its oldest record arrived. The 17th of April 2022 in Seoul then gets its damage;
the 18th and the 19th are clean. README.md beside this file says what lies where.

Deterministic: the same bytes on every machine with the same zlib. Another zlib may compress
differently; `--check` therefore compares decoded bytes where the stored bytes differ.
Needs nothing but the standard library of Python 3.9 or later.
"""

import argparse
import json
import math
import shutil
import sys
import uuid
import zlib
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

SEED = "rawcat sample 1"
MAX_TOTAL_BYTES = 3_000_000
BUFFER = timedelta(seconds=900)
SEOUL = timedelta(hours=9)  # no daylight saving time in 2022

APP = "study-stream"
WEB = "study-stream-2"

DANJI = [
    (1, "래미안퍼스티지", 37.5022, 126.9997),
    (2, "헬리오시티", 37.4970, 127.1070),
    (3, "잠실엘스", 37.5112, 127.0823),
    (4, "반포자이", 37.5085, 127.0130),
    (5, "은마", 37.4990, 127.0657),
    (6, "마포래미안푸르지오", 37.5536, 126.9545),
    (7, "목동신시가지7단지", 37.5265, 126.8647),
    (8, "올림픽선수기자촌", 37.5165, 127.1310),
]
DEVICES = {
    APP: [("ios", "15.4.1"), ("ios", "15.3"), ("ios", "14.8.1"), ("android", "12"), ("android", "11"), ("android", "10")],
    WEB: [("web", "100.0"), ("web", "99.0"), ("web", "98.0.1")],
}
TAGS = ["민원", "층간소음", "야간", "반복", "급함", "경비실", "방문차량"]
MEMOS = [
    '"조용히" 해 주세요',
    "지하 2층\n기둥 B-12",
    "감사합니다 \U0001f64f",
    "C:\\택배\\3동",
    "café 앞 \u2014 3번 칸",
    "",
]
MENUS = [("김치찌개", 9000), ("비빔밥", 10000), ("칼국수", 8500), ("돈까스", 11000)]

# How busy each hour of the local day is: asleep at night, busy on the way to work and back.
RHYTHM = {
    "weekday": [12, 8, 6, 5, 7, 0, 26, 64, 96, 62, 44, 42, 70, 48, 40, 42, 50, 72, 104, 92, 76, 60, 42, 24],
    "sunday": [16, 12, 8, 6, 5, 5, 8, 14, 24, 36, 48, 52, 58, 52, 48, 46, 48, 52, 56, 58, 54, 46, 0, 22],
}
# Each type's share over the local day: a base, a height and the hour of its peak.
TYPES = [
    ("Tip 1", 6, 3, 8),
    ("Tip 2", 5, 4, 18),
    ("Tip 3", 9, 2, 12),
    ("Tip 4", 4, 3, 15),
    ("Tip 5", 3, 2, 10),
    ("Tip 6", 3, 1, 20),
    ("관리비", 4, 7, 11),
    ("주차", 6, 12, 19),
    ("소음", 4, 11, 22),
    ("택배", 5, 10, 18),
]


def utc(day, hour=0, minute=0, second=0.0):
    """An instant of April 2022, in UTC."""
    return datetime(2022, 4, day, hour, minute, tzinfo=timezone.utc) + timedelta(seconds=second)


class Config:
    """What a stream was set to from an instant on; each change raises the version and flushes the buffer."""

    def __init__(self, since, version, extension, gzip, separator):
        self.since, self.version, self.extension = since, version, extension
        self.gzip, self.separator = gzip, separator


CONFIGS = {
    APP: [
        Config(utc(16), 1, "", False, b""),
        Config(utc(18, 5), 2, ".gz", True, b""),
        Config(utc(18, 15), 3, ".gz", True, b"\n"),
    ],
    WEB: [
        Config(utc(16), 1, "", False, b"\n"),
        Config(utc(17, 3), 2, ".gz", True, b"\n"),
        # A configured file extension replaces `.gz` while the body stays gzip.
        Config(utc(18, 3), 3, ".json", True, b"\n"),
        Config(utc(18, 15), 4, "", False, b" "),
    ],
}


class Random53:
    """Draws by `Random.random` alone, whose sequence no Python version has changed."""

    def __init__(self, purpose):
        self.random = Random(f"{SEED}/{purpose}").random

    def below(self, end):
        return int(self.random() * end)

    def pick(self, items):
        return items[self.below(len(items))]

    def weighted(self, items, weights):
        at = self.random() * sum(weights)
        for item, weight in zip(items, weights):
            at -= weight
            if at < 0:
                return item
        return items[-1]

    def normal(self):
        return math.sqrt(-2 * math.log(1 - self.random())) * math.cos(2 * math.pi * self.random())

    def bits(self, count):
        return int("".join(f"{self.below(65536):04x}" for _ in range(count // 16)), 16)


class Item:
    """One thing that the service sent: its exact bytes, and what they mean.

    `event` is None for a record without a time; `kind` is "record" or the name of its damage.
    """

    def __init__(self, data, event, arrival, kind="record"):
        self.data, self.event, self.arrival, self.kind = data, event, arrival, kind


class Object:
    """An object before its body is fixed."""

    def __init__(self, stream, opened, config):
        self.stream, self.opened, self.config = stream, opened, config
        self.items, self.separator = [], config.separator
        self.name = None
        self.members = 1
        self.cut = self.wrong_checksum = False
        self.stored = None
        self.damage = []  # of this object: dicts with offset, length, reason, detail

    def key(self):
        return f"{self.opened:%Y/%m/%d/%H}/{self.name}"

    def make_name(self, random):
        self.name = (
            f"{self.stream}-{self.config.version}-{self.opened:%Y-%m-%d-%H-%M-%S}-"
            f"{uuid.UUID(int=random.bits(128), version=4)}{self.config.extension}"
        )


# ---------------------------------------------------------------- records


def milliseconds(instant):
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"


def decimal(value):
    """Canonical text of a number with one decimal at most: `30`, `31.5`, never `30.0`."""
    return f"{round(value, 1):g}"


def value_of(kind, hour, random):
    swing = math.cos((hour - 21) / 24 * 2 * math.pi)
    if kind == "관리비":
        return decimal(245 + 28 * random.normal())
    if kind == "주차":
        return decimal(max(0, int(34 - 22 * swing + 6 * random.normal())))
    if kind == "소음":
        return decimal(48 + 9 * swing + 5 * random.normal())
    if kind == "택배":
        return decimal(1 + random.below(9))
    number = int(kind.split()[1])
    return decimal(max(0, 18 + 4 * number + 5 * math.sin(hour / 24 * 2 * math.pi) + 4 * random.normal()))


def make_record(event, channel, random):
    """The fields of one record, in the order in which its producer writes them."""
    local = event + SEOUL
    hour = local.hour + local.minute / 60
    weights = [base + height * max(0.0, math.cos((hour - peak) / 24 * 2 * math.pi)) ** 3 for _, base, height, peak in TYPES]
    kind = random.weighted([name for name, *_ in TYPES], weights)
    number, name, lat, lon = random.pick(DANJI)
    system, version = random.pick(DEVICES[channel])
    record = {
        "value": value_of(kind, hour, random),
        "type": kind,
        "ts": milliseconds(event),
        "user_id": random.below(100_000),
        "session": f"{random.bits(64):016x}",
        "device": {"os": system, "ver": version},
        "danji": {
            "id": number,
            "name": name,
            "lat": round(lat + 0.002 * random.random(), 5),
            "lon": round(lon + 0.002 * random.random(), 5),
        },
        "ok": random.random() < 0.96,
    }
    if channel == APP:
        warmth = 12.4 + 6.3 * math.sin((hour - 9) / 24 * 2 * math.pi) + 0.6 * random.normal()
        record["temperature"] = None if random.random() < 0.03 else round(warmth, 1)
    else:
        record = {"event_id": 9_007_199_254_740_993 + random.bits(48), "ts": record.pop("ts"), **record}
    if random.random() < 0.12:
        record["tags"] = [random.pick(TAGS) for _ in range(random.below(4))]
    if random.random() < 0.03:
        record["memo"] = random.pick(MEMOS)
    if local.hour == 12 and random.random() < 0.4:
        menu, price = random.pick(MENUS)
        record["lunch"] = {"menu": menu, "price_won": price}
    if local.day == 17 and random.random() < 0.15:
        record["beta"] = True  # of the 17th only: no column of the 18th
    return record


def encode(record, channel):
    """The app writes compact UTF-8; the web desk writes spaces and escapes."""
    if channel == APP:
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    return json.dumps(record).encode()


# ---------------------------------------------------------------- events and arrivals


def hours_of(first, totals):
    """(UTC hour, number of events) from the local rhythm."""
    for local_day, shape, total in totals:
        weights = RHYTHM[shape]
        for hour, weight in enumerate(weights):
            start = datetime(2022, 4, local_day, hour, tzinfo=timezone.utc) - SEOUL
            if start >= first:
                yield start, round(total * weight / sum(weights))


def make_items(channel, random):
    """Events of one channel with the instants at which Firehose received them."""
    if channel == APP:
        totals = [(16, "sunday", 900), (17, "sunday", 1300), (18, "weekday", 4600), (19, "weekday", 1250), (20, "weekday", 1250)]
    else:
        totals = [(17, "sunday", 420), (18, "weekday", 900), (19, "weekday", 420)]
    items = []
    for start, count in hours_of(utc(16, 14), totals):
        if start > utc(19, 15):
            break
        if channel == WEB and not 9 <= (start + SEOUL).hour < 19:
            continue  # the desk is closed
        for _ in range(count):
            event = start + timedelta(milliseconds=random.below(3_600_000))
            seconds = 0.2 - 1.4 * math.log(1 - random.random()) if channel == APP else 0.1 + 0.5 * random.random()
            arrival = event + timedelta(seconds=seconds)
            # At the edges of the silent hours nothing arrives late: no object may be filed in them.
            if (arrival.day, arrival.hour) in ((17, 13), (17, 20), (19, 16)):
                arrival = event
            items.append(Item(encode(make_record(event, channel, random), channel), event, arrival))
    return items


def late_items(random):
    """Records from phones that were in a tunnel, a lift or flight mode."""
    late = [
        (utc(17, 14, 41, 9.250), utc(17, 15, 33, 2)),  # the 17th, in an object of the 18th: "before"
        (utc(18, 0, 12, 31.400), utc(18, 2, 11, 11)),  # 09:12 in Seoul, arrives 1 h 58 min later
        (utc(18, 14, 57, 40.125), utc(18, 15, 4, 20)),  # makes hour 15 hold a record of the 18th
        (utc(18, 14, 31, 7.875), utc(18, 16, 24, 45)),  # found only because the listing is extended
    ]
    return [Item(encode(make_record(event, APP, random), APP), event, arrival) for event, arrival in late]


def buffer(channel, items):
    """Arrivals → objects: a buffer is closed after 900 s, or by a change of the configuration."""
    objects, current, until = [], None, None
    configs = CONFIGS[channel]
    for item in sorted(items, key=lambda item: (item.arrival, item.data)):
        config = [config for config in configs if config.since <= item.arrival][-1]
        if current is None or item.arrival >= until or config is not current.config:
            current = Object(channel, item.arrival, config)
            until = item.arrival + BUFFER
            objects.append(current)
        current.items.append(item)
    return objects


# ---------------------------------------------------------------- special objects and damage


def first_object(config):
    """The two records with which the project began, byte for byte. They have no time of their own."""
    opened = utc(17, 15, 0, 3)
    special = Object(APP, opened, config)
    for data in (b'{"value":"30","type":"Tip 3"}', b'{"value":"31","type":"Tip 3"}'):
        special.items.append(Item(data, None, opened))
    return special


def by_hand(config, random):
    """Somebody's own upload: no time in its name, so that a record without one takes its prefix hour."""
    opened = utc(17, 6)
    special = Object(APP, opened, config)
    special.name = "by-hand.json"
    special.separator = b"\n"
    for event in (utc(17, 5, 58, 1.5), utc(17, 6, 1, 12.75)):
        special.items.append(Item(encode(make_record(event, APP, random), APP), event, opened))
    special.items.append(Item('{"value":"17","type":"주차"}'.encode(), None, opened))
    return special


class Damage:
    """Damages objects of the 17th; each method changes one object, which `find` names by its hour."""

    def __init__(self, objects):
        self.objects = objects

    def find(self, stream, hour):
        """The fullest object of the stream in this UTC hour of the 17th."""
        found = [o for o in self.objects if o.stream == stream and o.opened.day == 17 and o.opened.hour == hour and len(o.items) >= 6]
        assert found, f"no object of {stream} with 6 records in hour {hour} of the 17th"
        return max(found, key=lambda o: (len(o.items), o.opened))

    def middle(self, stream, hour):
        target = self.find(stream, hour)
        return target, target.items[len(target.items) // 2]

    def change(self, item, old, new, kind):
        assert item.data.count(old) == 1, (old, item.data)
        item.data, item.kind = item.data.replace(old, new), kind

    def all(self, random):
        item = self.middle(APP, 1)[1]
        self.change(item, b'"session":"', b'"session";"', "bad_json")

        item = self.middle(APP, 2)[1]
        name = json.loads(item.data)["danji"]["name"]
        self.change(item, name.encode(), name.encode("cp949"), "bad_utf8")

        self.find(APP, 3).cut = True
        self.find(WEB, 4).cut = True
        self.find(WEB, 5).wrong_checksum = True

        target, item = self.middle(APP, 6)
        target.items.insert(target.items.index(item), Item(item.data, item.event, item.arrival))

        target = self.find(APP, 7)
        twin = Object(APP, target.opened, target.config)
        twin.items = list(target.items)
        twin.make_name(random)
        self.objects.append(twin)

        item = self.middle(APP, 8)[1]
        value = json.loads(item.data)["value"].encode()
        self.change(item, b'{"value":"' + value + b'"', b'{"value":31.50', "record")
        target, item = self.middle(APP, 9)
        danji = json.dumps(json.loads(item.data)["danji"], ensure_ascii=False, separators=(",", ":")).encode()
        self.change(item, danji, '"은마"'.encode(), "record")

        target, item = self.middle(APP, 10)
        target.items.insert(target.items.index(item), Item(b"42", None, item.arrival, "scalar"))

        item = self.middle(APP, 11)[1]
        self.change(item, b',"ok":', b',"note":"\\ud83d","ok":', "lone_surrogate")


# ---------------------------------------------------------------- bodies


def gzip_member(data, wrong_checksum=False):
    """One gzip member with a header that names no time, no file and no system."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    crc = zlib.crc32(data) ^ (0x5A5A5A5A if wrong_checksum else 0)
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00" + body + crc.to_bytes(4, "little") + len(data).to_bytes(4, "little")


def decode_lenient(data):
    """What zlib can still give: (decoded bytes, whole?)."""
    if not data.startswith(b"\x1f\x8b"):
        return data, True
    decoded = b""
    while data:
        inflate = zlib.decompressobj(-15)
        decoded += inflate.decompress(data[10:])
        if not inflate.eof:
            return decoded, False
        data = inflate.unused_data[8:]
    return decoded, True


def mixed_separators(count):
    cycle = [b"", b"\n", b"  ", b"\r\n", b"\t", b""]
    return [cycle[i % len(cycle)] for i in range(count)]


def layout_items(target):
    """The decoded body, and where each item begins in it."""
    separators = [target.separator] * len(target.items)
    if isinstance(target.separator, list):
        separators = target.separator
    body, starts = b"", []
    for item, separator in zip(target.items, separators):
        starts.append(len(body))
        body += item.data + separator
    return body, starts


def cut_inside(target, body, starts):
    """The stored bytes, cut so that the decoded bytes end well inside a record; the items before it stay."""
    stored = gzip_member(body) if target.config.gzip else body
    ends = [start + len(item.data) for start, item in zip(starts, target.items)]
    for length in range(int(len(stored) * 0.72), 40, -1):
        decoded, _ = decode_lenient(stored[:length])
        for at in range(1, len(starts)):
            margin = (ends[at] - starts[at]) // 3
            if starts[at] + margin < len(decoded) < ends[at] - margin:
                target.items = target.items[:at]
                return stored[:length], starts[at], len(decoded) - starts[at]
    raise AssertionError("no place to cut")


def finish(target):
    """Fixes the stored bytes of an object and notes its damage."""
    body, starts = layout_items(target)
    for start, item in zip(starts, target.items):
        if item.kind != "record":
            target.damage.append({"offset": start, "length": len(item.data), "reason": item.kind})
    if target.cut:
        target.stored, offset, length = cut_inside(target, body, starts)
        target.damage.append({"offset": offset, "length": length, "reason": "truncated"})
    elif target.wrong_checksum:
        target.stored = gzip_member(body, wrong_checksum=True)
        target.damage.append({"offset": 0, "length": len(body), "reason": "checksum"})
        target.items = []
    elif target.config.gzip and target.members == 2:
        # The seam lies inside a record: a decoder must join the members.
        seam = starts[len(starts) // 2] + 100
        target.stored = gzip_member(body[:seam]) + gzip_member(body[seam:])
    elif target.config.gzip:
        target.stored = gzip_member(body)
    else:
        target.stored = body


def make_objects():
    """All objects, finished, in the order of their keys."""
    random = Random53("specials")
    items = {channel: make_items(channel, Random53(channel)) for channel in (APP, WEB)}
    items[APP] += late_items(random)
    objects = [made for channel in (APP, WEB) for made in buffer(channel, items[channel])]
    names = Random53("names")
    for made in objects:
        made.make_name(names)
    # The rules of the IoT side were tried out on the morning of the 18th: spaces, then a mixture.
    for made in objects:
        if made.stream == WEB and made.opened.day == 18 and made.opened.hour == 1:
            made.separator = b" "
        if made.stream == WEB and made.opened.day == 18 and made.opened.hour == 2:
            made.separator = mixed_separators(len(made.items))
    Damage(objects).all(names)
    first = first_object(CONFIGS[APP][0])
    first.make_name(names)
    objects += [first, by_hand(CONFIGS[APP][0], random)]
    evening = [made for made in objects if made.stream == APP and made.opened >= utc(18, 11)]
    evening[0].members = 2
    for made in objects:
        finish(made)
    return sorted(objects, key=lambda made: made.key().encode())


# ---------------------------------------------------------------- what was meant


def time_of(made, item):
    if item.event is not None:
        return item.event
    return made.opened.replace(minute=0, second=0, microsecond=0) if made.name == "by-hand.json" else made.opened.replace(microsecond=0)


def truth(objects):
    """Records per local day and the damage, from what was meant rather than from what can be read."""
    days = Counter()
    for made in objects:
        for item in made.items:
            if item.kind == "record":
                days[str((time_of(made, item) + SEOUL).date())] += 1
    damage = [{"key": made.key(), **place} for made in objects for place in made.damage]
    return {
        "objects": len(objects),
        "stored_bytes": sum(len(made.stored) for made in objects),
        "records_of_local_day": dict(sorted(days.items())),
        "damage": damage,
    }


def local_days(made):
    return {(time_of(made, item) + SEOUL).day for item in made.items if item.kind == "record"}


def check_story(objects):
    """The promises of README.md; a change of the numbers above must not break them."""
    hours = {(made.opened.day, made.opened.hour) for made in objects}
    in_hour = lambda day, hour: [made for made in objects if (made.opened.day, made.opened.hour) == (day, hour)]
    assert (17, 13) not in hours, "22:00 in Seoul on the 17th has no object"
    assert (17, 20) not in hours, "05:00 in Seoul on the 18th has no object"
    assert any({17, 18} <= local_days(made) for made in in_hour(17, 14)), "an object lies across midnight"
    assert not any(19 in local_days(made) for made in in_hour(18, 14)), "no object of 23:00 holds the 19th"
    assert any(18 in local_days(made) for made in in_hour(18, 15)), "hour 15 holds a record of the 18th"
    assert any(18 in local_days(made) for made in in_hour(18, 16)), "hour 16 holds a late record of the 18th"
    assert not any(18 in local_days(made) for made in in_hour(18, 17)), "hour 17 holds none"
    assert any(b'"beta"' in item.data for made in in_hour(17, 14) for item in made.items), "beta is read, and not of the day"
    for made in objects:
        assert not made.damage or utc(16, 18) <= made.opened < utc(17, 12), f"damage outside the 17th: {made.key()}"
    assert hours >= {(16, 14), (19, 15)}
    assert sum(len(made.stored) for made in objects) <= MAX_TOTAL_BYTES
    reasons = Counter(place["reason"] for made in objects for place in made.damage)
    assert reasons == {"bad_json": 1, "bad_utf8": 1, "truncated": 2, "checksum": 1, "scalar": 1, "lone_surrogate": 1}, reasons


# ---------------------------------------------------------------- the folder


def write(objects, root):
    if root.exists():
        shutil.rmtree(root)
    for made in objects:
        path = root / made.key()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made.stored)


def same(stored, meant):
    """Equal bytes, or equal once decoded; of a cut object the one may hold a little more than the other."""
    if stored == meant:
        return True
    (stored, whole), (meant, meant_whole) = decode_lenient(stored), decode_lenient(meant)
    if whole != meant_whole:
        return False
    return stored == meant if whole else stored.startswith(meant) or meant.startswith(stored)


def check(objects, root):
    """The differences between the folder and what should be there, as messages."""
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    wanted = {made.key(): made.stored for made in objects}
    problems = [f"missing: {key}" for key in sorted(wanted.keys() - found)]
    problems += [f"not made by this script: {key}" for key in sorted(found - wanted.keys())]
    for key in sorted(found & wanted.keys()):
        if not same((root / key).read_bytes(), wanted[key]):
            problems.append(f"differs: {key}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    here = Path(__file__).resolve().parent
    parser.add_argument("--out", type=Path, default=here / "rawdata", help="the folder to write; replaced as a whole (default: rawdata/ beside this script)")
    parser.add_argument("--check", action="store_true", help="compare the folder with what would be written, and write nothing")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="also write what was meant (counts, damage) as JSON")
    args = parser.parse_args()

    objects = make_objects()
    check_story(objects)
    meant = truth(objects)
    if args.truth:
        args.truth.write_text(json.dumps(meant, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    if args.check:
        problems = check(objects, args.out)
        for problem in problems:
            print(problem, file=sys.stderr)
        if problems:
            sys.exit(f"error: {args.out} differs in {len(problems)} objects; run this script without --check to write it anew")
        print(f"{len(objects)} objects as they should be")
        return
    write(objects, args.out)
    counts = ", ".join(f"{day}: {count:,}" for day, count in meant["records_of_local_day"].items())
    print(f"{len(objects)} objects, {meant['stored_bytes']:,} bytes in {args.out}")
    print(f"records by local day: {counts}")


if __name__ == "__main__":
    main()
