#!/usr/bin/env python3
"""Reads the sample objects a second time, by other means than rawcat, and writes the exact tables.

    python3 sample_data/reference.py             # writes sample_data/expected/
    python3 sample_data/reference.py --check     # recomputes, compares with what is there, writes nothing
    python3 sample_data/reference.py --day 2022-04-18 --show

Independent on purpose: records are told apart by `json.JSONDecoder.raw_decode`, members of gzip
objects by `zlib`, days by `zoneinfo`, sums are `math.fsum`. It shares no code with rawcat, nor with
the script that made the objects. It is slow and short; it is meant to be read.

The rules (the same as rawcat's defaults):
- A local day is [first instant of the date, first instant of the next date) in the zone.
- Listed are the UTC hours that cover the day, 1 h of look-back and 1 h of look-ahead. While the
  outermost listed hour, at either end, still holds records of the day, one more is listed: up to 24 h.
- A record's time is its field `ts`, else the time in its object's name, else its prefix hour.
- Rows are ordered by (object key, byte offset). Duplicates stay.
- A place that is no record is skipped up to the next record that can be told apart with certainty.

Needs the standard library of Python 3.9 or later (and, where the system has no zone data, the
package `tzdata`).
"""

import argparse
import csv
import gzip
import io
import json
import math
import re
import sys
import zlib
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

ZONE = "Asia/Seoul"
DAYS = ["2022-04-17", "2022-04-18", "2022-04-19"]
METRICS = ["value", "temperature"]
GROUP = "type"
LOOK_BACK = LOOK_AHEAD = timedelta(hours=1)
MAX_LATE = timedelta(hours=24)
HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SPACE = b" \t\r\n"

NAME = re.compile(
    r"(?P<stream>.+)-(?P<version>\d+)-(?P<time>\d{4}(?:-\d\d){5})-"
    r"(?P<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?P<extension>\..+)?"
)
NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")


# ---------------------------------------------------------------- the day and its hours


def first_instant(day, zone):
    """The first instant of a date; Seoul's midnights of this century exist once."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)


class Window:
    def __init__(self, day, zone):
        self.day, self.zone = day, zone
        self.start = first_instant(day, zone)
        self.end = first_instant(day + timedelta(days=1), zone)

    def holds(self, instant):
        return self.start <= instant < self.end

    def hours(self):
        """First and last UTC hour listed before any extension."""
        first = (self.start - LOOK_BACK).replace(minute=0, second=0, microsecond=0)
        last = (self.end + LOOK_AHEAD - timedelta(microseconds=1)).replace(minute=0, second=0, microsecond=0)
        return first, last


# ---------------------------------------------------------------- objects


def decode(stored):
    """(decoded bytes, problem): gzip by its magic number, member after member.

    A member whose checksum contradicts gives none of its bytes. A member that is cut gives what it had.
    """
    if not stored.startswith(b"\x1f\x8b"):
        return stored, None
    decoded = b""
    while stored:
        inflate = zlib.decompressobj(31)
        try:
            member = inflate.decompress(stored)
        except zlib.error as error:
            return decoded, ("checksum", str(error))
        decoded += member
        if not inflate.eof:
            return decoded, ("truncated", "the compressed data ends inside a member")
        stored = inflate.unused_data
    return decoded, None


def refuse_constant(text):
    raise ValueError(f"{text} is no JSON")


class Literal(str):
    """A number as its source text."""


READER = json.JSONDecoder(parse_constant=refuse_constant)
LITERALS = json.JSONDecoder(parse_constant=refuse_constant, parse_int=Literal, parse_float=Literal)


def extent(text, start):
    """The end of the JSON value at `start`, or None. `text` is latin-1, so that indexes are bytes."""
    try:
        return READER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def lone_surrogate(text):
    return any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)


def fault_of(data):
    """Why the bytes of one whole JSON value are no record, or None."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return "bad_utf8"
    value = READER.decode(text)
    if not isinstance(value, dict):
        return "scalar"
    if lone_surrogate(json.dumps(value, ensure_ascii=False)):
        return "lone_surrogate"
    return None


def next_certain(text, start):
    """The next `{` that begins a whole object and stands where a record may begin."""
    for found in re.finditer(r'(?<=[}\n])[ \t\r\n]*(\{)', text[start + 1:]):
        at = start + 1 + found.start(1)
        if extent(text, at) is not None:
            return at
    return None


def split(decoded):
    """(records, faults): records are (offset, bytes), faults (offset, length, reason)."""
    text = decoded.decode("latin-1")
    records, faults = [], []
    at = 0
    while True:
        while at < len(decoded) and decoded[at] in SPACE:
            at += 1
        if at == len(decoded):
            return records, faults
        end = extent(text, at)
        if end is not None:
            data = decoded[at:end]
            reason = fault_of(data)
            if reason is None:
                records.append((at, data))
            else:
                faults.append((at, len(data), reason))
            at = end
            continue
        resume = next_certain(text, at)
        if resume is None:
            faults.append((at, len(decoded) - at, "truncated"))
            return records, faults
        faults.append((at, len(decoded[at:resume].rstrip(SPACE)), "bad_json"))
        at = resume


class Object:
    """One object, read whole: its records with their times, and its faults."""

    def __init__(self, key, stored):
        self.key, self.stored_bytes = key, len(stored)
        self.hour = datetime.strptime(key[:13], "%Y/%m/%d/%H").replace(tzinfo=timezone.utc)
        self.name = NAME.fullmatch(key.rsplit("/", 1)[1])
        decoded, problem = decode(stored)
        self.decoded_bytes = len(decoded)
        found, faults = split(decoded)
        self.damage = [{"key": key, "offset": o, "length": n, "reason": r} for o, n, r in faults]
        if problem is not None and problem[0] not in [place["reason"] for place in self.damage]:
            self.damage.append({"key": key, "offset": len(decoded), "length": None, "reason": problem[0]})
        self.quarantined_bytes = sum(length for _, length, _ in faults)
        self.record_bytes = sum(len(data) for _, data in found)
        self.records = [Record(self, offset, data) for offset, data in found]

    def time(self):
        """(instant, source) for records without a time of their own."""
        if self.name is None:
            return self.hour, "prefix_hour"
        instant = datetime.strptime(self.name["time"], "%Y-%m-%d-%H-%M-%S")
        return instant.replace(tzinfo=timezone.utc), "object_name"


class Record:
    def __init__(self, parent, offset, data):
        self.key, self.offset, self.length = parent.key, offset, len(data)
        text = data.decode("utf-8")
        self.fields = READER.decode(text)
        self.literals = LITERALS.decode(text)
        if isinstance(self.fields.get("ts"), str):
            self.instant = datetime.fromisoformat(self.fields["ts"].replace("Z", "+00:00"))
            self.source = "field ts"
        else:
            self.instant, self.source = parent.time()


class Source:
    """A folder of objects; every object is read once."""

    def __init__(self, root):
        self.by_hour = defaultdict(list)
        for path in sorted(root.rglob("*"), key=lambda path: path.relative_to(root).as_posix().encode()):
            if path.is_file():
                made = Object(path.relative_to(root).as_posix(), path.read_bytes())
                self.by_hour[made.hour].append(made)

    def listed(self, window):
        """(objects in the order of their keys, first hour, last hour) with the extension."""
        first, last = window.hours()
        low, high = first - (MAX_LATE - LOOK_BACK), last + (MAX_LATE - LOOK_AHEAD)
        holds = lambda hour: any(window.holds(r.instant) for made in self.by_hour[hour] for r in made.records)
        while first > low and holds(first):
            first -= HOUR
        while last < high and holds(last):
            last += HOUR
        hours = [first + HOUR * step for step in range((last - first) // HOUR + 1)]
        return [made for hour in hours for made in self.by_hour[hour]], first, last


# ---------------------------------------------------------------- columns


def flatten(fields, prefix=""):
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}_")
        else:
            yield prefix + key, value


KINDS = {bool: "bool", int: "int", float: "float", str: "text"}


def columns_of(rows):
    """[(name, type)] in the order of first appearance, for data whose columns each have one type."""
    seen = {}
    for row in rows:
        for name, value in flatten(row.fields):
            kinds = seen.setdefault(name, set())
            if isinstance(value, list):
                kinds.add("list<text>")
                assert all(isinstance(item, str) for item in value), name
            elif value is not None:
                kinds.add(KINDS[type(value)])
    for name, kinds in seen.items():
        assert len(kinds) == 1, f"column {name} has several types: {kinds}"
    return [(name, next(iter(kinds))) for name, kinds in seen.items()]


def microseconds(instant):
    return (instant - EPOCH) // timedelta(microseconds=1)


def local_microseconds(instant, zone):
    return microseconds(instant.astimezone(zone).replace(tzinfo=timezone.utc))


def records_table(rows, zone):
    """JSON lines: the columns, then a list per row."""
    columns = columns_of(rows)
    head = [["ts_utc", "timestamp_us_utc"], ["ts_local", "timestamp_us_naive"]] + [list(c) for c in columns]
    lines = [json.dumps({"columns": head})]
    for row in rows:
        flat = dict(flatten(row.fields))
        values = [microseconds(row.instant), local_microseconds(row.instant, zone)]
        values += [flat.get(name) for name, _ in columns]
        lines.append(json.dumps(values, ensure_ascii=False, separators=(",", ":")))
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- aggregates


def metric_of(row, name):
    """The number that a field or a text holds, by its literal; None where there is none."""
    literal = row.literals.get(name)
    if isinstance(literal, str) and NUMBER.fullmatch(literal):
        return float(literal)
    return None


def measures(rows):
    """records, then count, sum, mean, min, max, distinct of each metric; blank where there is no value."""
    out = [len(rows)]
    for name in METRICS:
        values = [value for value in (metric_of(row, name) for row in rows) if value is not None]
        if values:
            # The mean of the exact sum, rounded once; rounding the sum first can miss it by a bit.
            mean = float(sum(map(Fraction, values)) / len(values))
            out += [len(values), math.fsum(values), mean, min(values), max(values), len(set(values))]
        else:
            out += [0, "", "", "", "", 0]
    return out


MEASURES = ["records"] + [f"{m}_{s}" for m in METRICS for s in ("count", "sum", "mean", "min", "max", "distinct")]


def as_csv(head, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[repr(v) if isinstance(v, float) else v for v in row] for row in rows])
    return out.getvalue()


def group_of(row):
    return row.fields[GROUP]


def hourly(window, rows, grouped):
    """One row per elapsed hour of the day (and group); hours without records are there with 0."""
    groups = sorted({group_of(row) for row in rows}, key=str.encode) if grouped else [None]
    parts = defaultdict(list)
    for row in rows:
        parts[(row.instant - window.start) // HOUR, group_of(row) if grouped else None].append(row)
    table = []
    for step in range(math.ceil((window.end - window.start) / HOUR)):
        start = window.start + HOUR * step
        times = [start.strftime("%Y-%m-%dT%H:%M:%SZ"), start.astimezone(window.zone).strftime("%Y-%m-%dT%H:%M:%S")]
        for group in groups:
            table.append(times + ([group] if grouped else []) + measures(parts[step, group]))
    return as_csv(["bucket_utc", "bucket_local"] + ([GROUP] if grouped else []) + MEASURES, table)


def daily(window, rows):
    parts = defaultdict(list)
    for row in rows:
        parts[group_of(row)].append(row)
    table = [[str(window.day), group] + measures(parts[group]) for group in sorted(parts, key=str.encode)]
    return as_csv(["local_date", GROUP] + MEASURES, table)


# ---------------------------------------------------------------- one day


def read_day(source, day, zone):
    """{file name: text} of everything that is expected of a day."""
    window = Window(date.fromisoformat(day), zone)
    objects, first, last = source.listed(window)
    read = [record for made in objects for record in made.records]
    rows = [record for record in read if window.holds(record.instant)]
    damage = [place for made in objects for place in made.damage]
    decoded = sum(made.decoded_bytes for made in objects)
    in_records = sum(made.record_bytes for made in objects)
    quarantined = sum(made.quarantined_bytes for made in objects)
    planned_first, planned_last = window.hours()
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    summary = {
        "day": day,
        "tz": ZONE,
        "window": {"start_utc": window.start.strftime(stamp), "end_utc": window.end.strftime(stamp)},
        "hours_listed_at_first": {"first": planned_first.strftime(stamp), "last": planned_last.strftime(stamp)},
        "hours_listed": {"first": first.strftime(stamp), "last": last.strftime(stamp)},
        "objects": {
            "listed": len(objects),
            "listed_bytes": sum(made.stored_bytes for made in objects),
            "unparsable_names": [made.key for made in objects if made.name is None],
        },
        "decoded_bytes": {
            "all": decoded,
            "records": in_records,
            "quarantined": quarantined,
            "separators": decoded - in_records - quarantined,
        },
        "records": {
            "parsed": len(read),
            "of_the_day": len(rows),
            "before": sum(record.instant < window.start for record in read),
            "after": sum(record.instant >= window.end for record in read),
        },
        "time_sources": dict(sorted(Counter(record.source for record in rows).items())),
        "damage": damage,
        "exit_code": 3 if damage else 0,
    }
    files = {
        "hourly_by_type.csv": hourly(window, rows, grouped=True),
        "hourly.csv": hourly(window, rows, grouped=False),
        "daily_by_type.csv": daily(window, rows),
    }
    if not damage:  # the columns of the 17th widen; their text is rawcat's own business
        summary["columns"] = [list(column) for column in columns_of(rows)]
        files["records.jsonl.gz"] = records_table(rows, zone)
    files["summary.json"] = json.dumps(summary, ensure_ascii=False, indent=2) + "\n"
    return files


def store(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = text.encode("utf-8")
    path.write_bytes(gzip.compress(data, 9, mtime=0) if path.suffix == ".gz" else data)


def load(path):
    if not path.exists():
        return None
    data = path.read_bytes()
    return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")


def missing_in_readme(damage):
    """Places of damage that README.md beside this file does not name with key and offset."""
    lines = (Path(__file__).resolve().parent / "README.md").read_text(encoding="utf-8").splitlines()
    told = lambda place: any(place["key"][11:] in line and f"| {place['offset']} | `{place['reason']}` |" in line for line in lines)
    return [place for place in damage if not told(place)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    here = Path(__file__).resolve().parent
    parser.add_argument("--source", type=Path, default=here / "rawdata", help="the folder that holds yyyy/MM/dd/HH/ (default: rawdata/ beside this script)")
    parser.add_argument("--out", type=Path, default=here / "expected", help="the folder of expected tables (default: expected/ beside this script)")
    parser.add_argument("--day", action="append", metavar="YYYY-MM-DD", help="only this day; may be repeated (default: the 17th to the 19th)")
    parser.add_argument("--check", action="store_true", help="compare with the folder, and write nothing")
    parser.add_argument("--show", action="store_true", help="print the summaries, and write nothing")
    args = parser.parse_args()
    if not args.source.is_dir():
        sys.exit(f"error: no folder {args.source}; run make_sample_data.py first")

    source, zone = Source(args.source), ZoneInfo(ZONE)
    different = []
    for day in args.day or DAYS:
        files = read_day(source, day, zone)
        if args.show:
            print(files["summary.json"], end="")
            continue
        for name, text in files.items():
            path = args.out / day / name
            if not args.check:
                store(path, text)
            elif load(path) != text:
                different.append(path)
        counts = json.loads(files["summary.json"])
        for place in missing_in_readme(counts["damage"]) if args.check else []:
            different.append(f"README.md: no row for {place['reason']} at {place['offset']} of {place['key']}")
        print(f"{day}: {counts['objects']['listed']} objects, {counts['records']['of_the_day']:,} records, exit code {counts['exit_code']}")
    if different:
        sys.exit("error: these differ from what the objects hold; run this script without --check:\n" + "\n".join(map(str, different)))


if __name__ == "__main__":
    main()
