#!/usr/bin/env python3
"""Compares what rawcat published with what DuckDB finds in the raw objects, and with three readers.

    pip install -r tests/peers/requirements.txt
    rawcat fetch --day 2022-04-18 --tz Asia/Seoul --source sample_data/rawdata --out out --by type --metric value
    python3 tests/peers/check_duckdb.py out sample_data/rawdata 2022-04-18 Asia/Seoul

OUT is rawcat's published folder, RAW_ROOT the folder that holds yyyy/MM/dd/HH/. Three tables must agree,
by bucket and group: DuckDB on the raw objects (`read_json`, glued records), DuckDB on the published
`records`, and the published `aggregates`. Then `ts_utc` and `ts_local` must mean the same in DuckDB,
pandas (pyarrow) and Polars: an instant in UTC, and the clock on the wall in TZ.

Counts, minima and maxima must be equal; sums and means may differ by 1e-12 of their size, because
DuckDB's compensated sum is not exactly rounded. Gzip objects are unpacked into a temporary folder
first, by their magic number. DuckDB refuses damaged objects, so the day must be a clean one.

Exit code 0: all agree. 1: differences, printed as a table. 2: usage, or something is missing.
"""

import argparse
import math
import re
import sys
import tempfile
import zlib
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
STATISTICS = ["count", "sum", "mean", "min", "max"]
ROUNDED = {"sum", "mean"}
TOLERANCE = 1e-12
NAME_TIME = re.compile(r"-(\d{4}(?:-\d\d){5})-[0-9a-f]{8}-")


def stop(message):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


def microseconds(instant):
    return (instant - EPOCH) // timedelta(microseconds=1)


# ---------------------------------------------------------------- the day and its objects


def first_instant(day, zone):
    """The first UTC minute that reads as this date or a later one, so that gaps and folds come out right."""
    instant = datetime(day.year, day.month, day.day, tzinfo=timezone.utc) - timedelta(hours=26)
    while instant.astimezone(zone).date() < day:
        instant += timedelta(minutes=1)
    return instant


def raw_objects(root, start, end, max_late_hours):
    """Every object that a listing of the day could reach, as [(path, time for records without one)]."""
    hour = (start - HOUR).replace(minute=0, second=0, microsecond=0)
    objects = []
    while hour < end + HOUR * max_late_hours:
        for path in sorted((root / hour.strftime("%Y/%m/%d/%H")).glob("*")):
            if path.is_file():
                named = NAME_TIME.search(path.name)
                time = datetime.strptime(named[1], "%Y-%m-%d-%H-%M-%S").replace(tzinfo=timezone.utc) if named else hour
                objects.append((path, time))
        hour += HOUR
    return objects


def unpacked(path):
    """The decoded bytes of a gzip object, or None for a plain one."""
    data = path.read_bytes()
    if not data.startswith(b"\x1f\x8b"):
        return None
    decoded = []
    while data:
        inflate = zlib.decompressobj(31)
        try:
            decoded.append(inflate.decompress(data))
        except zlib.error as error:
            stop(f"{path}: {error}; this check needs a day without damage")
        if not inflate.eof:
            stop(f"{path}: cut; this check needs a day without damage")
        data = inflate.unused_data
    return b"".join(decoded)


def readable(objects, folder):
    """The same objects as files that DuckDB reads without decompression."""
    plain = []
    for number, (path, time) in enumerate(objects):
        data = unpacked(path)
        if data is not None:
            path = folder / f"{number:06d}.json"
            path.write_bytes(data)
        if path.stat().st_size:
            plain.append((str(path), time))
    return plain


# ---------------------------------------------------------------- tables by bucket and group


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def field(name):
    """SQL for a field of a raw record as text; `device.os` reaches into an object."""
    top, *rest = name.split(".")
    if not rest:
        return quoted(top)
    return f"({quoted(top)} ->> {literal('$.' + '.'.join(rest))})"


def published_name(name):
    return name.replace(".", "_")


def load_raw(db, objects, args):
    """Table `raw`: time in µs, groups, metrics, of the day's records in the raw objects."""
    names = [args.time_field, *args.by, *args.metric]
    columns = {name.split(".")[0]: "JSON" if "." in name else "VARCHAR" for name in names}
    spec = ", ".join(f"{quoted(name)}: '{kind}'" for name, kind in columns.items())
    files = ", ".join(literal(path) for path, _ in objects)
    db.execute("create table object_times (filename varchar, us bigint)")
    db.executemany("insert into object_times values (?, ?)", [(path, microseconds(time)) for path, time in objects])
    selected = [f"{field(name)} as by_{i}" for i, name in enumerate(args.by)]
    selected += [f"try_cast({field(name)} as double) as metric_{i}" for i, name in enumerate(args.metric)]
    db.execute(
        f"""create table raw as select * from (
            select coalesce(epoch_us(try_cast({field(args.time_field)} as timestamptz)), t.us) as us, {", ".join(selected)}
            from read_json([{files}], format='unstructured', compression='none', records='true', filename=true, columns={{{spec}}}) r
            join object_times t on r.filename = t.filename)
        where us >= {args.start_us} and us < {args.end_us}"""
    )


def load_records(db, args):
    """Table `records` in the shape of `raw`, from the published Parquet; False if there is none."""
    files = args.out / "records" / f"local_date={args.day}" / "*.parquet"
    if not list(files.parent.glob("*.parquet")):
        return False
    selected = [f"{quoted(published_name(name))}::varchar as by_{i}" for i, name in enumerate(args.by)]
    selected += [f"try_cast({quoted(published_name(name))} as double) as metric_{i}" for i, name in enumerate(args.metric)]
    db.execute(f"create table records as select epoch_us(ts_utc) as us, {', '.join(selected)} from read_parquet({literal(str(files))}, hive_partitioning=false)")
    return True


def summed(db, table, args, bucketed):
    """{(bucket µs or None, group, …): {column: value}} of `raw` or `records`."""
    bucket = f"us - (us - {args.start_us}) % {args.every_us}" if bucketed else "null::bigint"
    groups = [f"by_{i}" for i in range(len(args.by))]
    values = ["count(*)"]
    for i in range(len(args.metric)):
        values += [f"{function}(metric_{i})" for function in ("count", "fsum", "avg", "min", "max")]
    keys = [bucket, *groups]
    rows = db.execute(f"select {', '.join(keys + values)} from {table} group by {', '.join(map(str, range(1, len(keys) + 1)))}").fetchall()
    return {row[: len(keys)]: with_means(dict(zip(column_names(args), row[len(keys):])), args) for row in rows}


def with_means(row, args):
    """DuckDB's avg adds up plainly; the mean is taken from the compensated sum instead."""
    for name in map(published_name, args.metric):
        row[f"{name}_mean"] = row[f"{name}_sum"] / row[f"{name}_count"] if row[f"{name}_count"] else None
    return row


def column_names(args):
    return ["records"] + [f"{published_name(metric)}_{statistic}" for metric in args.metric for statistic in STATISTICS]


def published(db, folder, args, bucketed):
    """The same from a published aggregate table; also every row's (bucket_utc, bucket_local)."""
    files = folder / f"local_date={args.day}" / "*.parquet"
    if not list(files.parent.glob("*.parquet")):
        stop(f"no Parquet file in {files.parent}; was the day fetched into {args.out}?")
    source = f"read_parquet({literal(str(files))}, hive_partitioning=false)"
    present = [row[0] for row in db.execute(f"describe select * from {source}").fetchall()]
    groups = [published_name(name) for name in args.by]
    wanted = (["bucket_utc", "bucket_local"] if bucketed else []) + groups + column_names(args)
    missing = [name for name in wanted if name not in present]
    if missing:
        stop(f"{files.parent} lacks the columns {', '.join(missing)}; it has {', '.join(present)}")
    bucket = "epoch_us(bucket_utc), epoch_us(bucket_local)" if bucketed else "null::bigint, null::bigint"
    selected = ", ".join([bucket] + [f"{quoted(name)}::varchar" for name in groups] + [quoted(name) for name in column_names(args)])
    table, clocks = {}, set()
    for row in db.execute(f"select {selected} from {source}").fetchall():
        key = (row[0], *row[2:2 + len(groups)])
        if key in table:
            stop(f"{files.parent} has two rows for {key}")
        table[key] = dict(zip(column_names(args), row[2 + len(groups):]))
        clocks.add(row[:2])
    return table, clocks


# ---------------------------------------------------------------- comparing


def agree(column, left, right):
    if left is None or right is None or left == right:
        return left == right or ({left, right} == {None, 0} and column.endswith("_sum"))
    statistic = column.rsplit("_", 1)[-1]
    return statistic in ROUNDED and math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def differences(title, wanted, found):
    """Rows (where, key, column, raw, found). A row without records may be absent on either side."""
    rows = []
    for key in sorted(wanted.keys() | found.keys(), key=str):
        left, right = wanted.get(key, {"records": 0}), found.get(key, {"records": 0})
        columns = ["records"] if left["records"] == 0 == right["records"] or len(left) != len(right) else left
        rows += [(title, key, column, left[column], right[column]) for column in columns if not agree(column, left[column], right[column])]
    return rows


def show_key(key):
    bucket, *groups = key
    start = [] if bucket is None else [(EPOCH + timedelta(microseconds=bucket)).strftime("%Y-%m-%dT%H:%M:%SZ")]
    return " ".join(start + [str(group) for group in groups])


def print_table(rows, limit=30):
    cells = [("table", "bucket and group", "column", "raw objects", "published")]
    cells += [(title, show_key(key), column, str(left), str(right)) for title, key, column, left, right in rows[:limit]]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    for row in cells:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())
    if len(rows) > limit:
        print(f"… and {len(rows) - limit} more")


# ---------------------------------------------------------------- the meaning of the times


def bucket_problems(clocks, args):
    """Buckets are elapsed steps from the day's first instant, all of them, and know their local clock."""
    expected = set()
    for us in range(args.start_us, args.end_us, args.every_us):
        local = (EPOCH + timedelta(microseconds=us)).astimezone(args.zone).replace(tzinfo=timezone.utc)
        expected.add((us, microseconds(local)))
    problems = [f"aggregates: no bucket {pair}" for pair in sorted(expected - clocks)]
    return problems + [f"aggregates: a bucket that the day has not: {pair}" for pair in sorted(clocks - expected)]


def duckdb_times(db, path, args):
    db.execute(f"set timezone = {literal(args.tz)}")
    types = {row[0]: row[1] for row in db.execute(f"describe select ts_utc, ts_local from read_parquet({literal(path)})").fetchall()}
    wrong = db.execute(
        f"""select count(*), min(epoch_us(ts_utc)), max(epoch_us(ts_utc)),
            count(*) filter (ts_local is distinct from (ts_utc at time zone {literal(args.tz)}))
            from read_parquet({literal(path)})"""
    ).fetchone()
    return types == {"ts_utc": "TIMESTAMP WITH TIME ZONE", "ts_local": "TIMESTAMP"}, types, wrong


def pandas_times(path, args):
    import pandas

    frame = pandas.read_parquet(path, engine="pyarrow", columns=["ts_utc", "ts_local"], partitioning=None)
    types = {name: str(kind) for name, kind in frame.dtypes.items()}
    right = str(getattr(frame["ts_utc"].dtype, "tz", None)) == "UTC" and getattr(frame["ts_local"].dtype, "tz", None) is None
    right = right and all(kind.startswith("datetime64[") for kind in types.values())
    if not right:
        return right, types, None
    local = frame["ts_utc"].dt.tz_convert(args.tz).dt.tz_localize(None)
    first, last = (microseconds(moment.to_pydatetime()) for moment in (frame["ts_utc"].min(), frame["ts_utc"].max()))
    return right, types, (len(frame), first, last, int((local != frame["ts_local"]).sum()))


def polars_times(path, args):
    import polars

    frame = polars.read_parquet(path, columns=["ts_utc", "ts_local"], hive_partitioning=False)
    types = {name: str(kind) for name, kind in frame.schema.items()}
    right = frame.schema == {"ts_utc": polars.Datetime("us", "UTC"), "ts_local": polars.Datetime("us", None)}
    if not right:
        return right, types, None
    local = frame["ts_utc"].dt.convert_time_zone(args.tz).dt.replace_time_zone(None)
    return right, types, (len(frame), microseconds(frame["ts_utc"].min()), microseconds(frame["ts_utc"].max()), int((local != frame["ts_local"]).sum()))


def time_problems(db, args):
    """What ts_utc and ts_local mean to each reader, file by file."""
    problems = []
    for path in sorted((args.out / "records" / f"local_date={args.day}").glob("*.parquet")):
        readers = [("DuckDB", lambda p: duckdb_times(db, p, args)), ("pandas", lambda p: pandas_times(p, args)), ("Polars", lambda p: polars_times(p, args))]
        for name, read in readers:
            right, types, found = read(str(path))
            if not right:
                problems.append(f"{name} reads {path.name} as {types}; ts_utc should be an instant in UTC, ts_local a clock without a zone")
            elif found[0] and not (args.start_us <= found[1] and found[2] < args.end_us):
                problems.append(f"{name} finds times outside the day in {path.name}: {found[1]} to {found[2]} µs")
            elif found[3]:
                problems.append(f"{name} finds {found[3]} rows in {path.name} whose ts_local is not ts_utc in {args.tz}")
    return problems


def partition_problems(db, args):
    """Each reader can open the whole `records` folder and sees the date of the path."""
    import pandas
    import polars

    folder = args.out / "records"
    pattern = str(folder / "*" / "*.parquet")
    query = f"select count(*) from read_parquet({literal(pattern)}, hive_partitioning=true, union_by_name=true) where local_date = date {literal(args.day)}"
    counts = {"DuckDB": db.execute(query).fetchone()[0]}
    scan = polars.scan_parquet(str(folder / f"local_date={args.day}" / "*.parquet"), hive_partitioning=True)
    dated = scan.filter(polars.col("local_date").cast(polars.String) == args.day)
    counts["Polars"] = dated.select(polars.len()).collect().item()
    day = pandas.read_parquet(folder, engine="pyarrow", columns=["ts_utc"], filters=[("local_date", "==", args.day)])
    counts["pandas"] = len(day)
    rows = db.execute("select count(*) from records").fetchone()[0]
    return [f"{name} finds {count} rows by the partition local_date={args.day}, not {rows}" for name, count in counts.items() if count != rows]


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], epilog="Exit codes: 0 all agree, 1 differences, 2 usage or something is missing.")
    parser.add_argument("out", type=Path, metavar="OUT", help="rawcat's published folder")
    parser.add_argument("raw_root", type=Path, metavar="RAW_ROOT", help="the folder that holds yyyy/MM/dd/HH/")
    parser.add_argument("day", metavar="DAY", help="2022-04-18")
    parser.add_argument("tz", metavar="TZ", help="Asia/Seoul")
    parser.add_argument("--by", default="type", help="group fields as raw records name them, comma-separated, '' for none (default: type)")
    parser.add_argument("--metric", default="value", help="metric fields, comma-separated (default: value)")
    parser.add_argument("--time-field", default="ts", help="(default: ts)")
    parser.add_argument("--every", type=int, default=3600, metavar="SECONDS", help="bucket length (default: 3600)")
    parser.add_argument("--buckets", default="hourly", help="folder of the bucket table below aggregates/ (default: hourly)")
    parser.add_argument("--max-late", type=int, default=24, metavar="HOURS", help="objects filed so long after the day are looked at (default: 24)")
    args = parser.parse_args()
    try:
        day, args.zone = date.fromisoformat(args.day), ZoneInfo(args.tz)
    except (ValueError, ZoneInfoNotFoundError) as error:
        parser.error(str(error))
    for folder in (args.out, args.raw_root):
        if not folder.is_dir():
            parser.error(f"no folder {folder}")
    args.by = [name for name in args.by.split(",") if name]
    args.metric = [name for name in args.metric.split(",") if name]
    args.start, args.end = first_instant(day, args.zone), first_instant(day + timedelta(days=1), args.zone)
    args.start_us, args.end_us, args.every_us = microseconds(args.start), microseconds(args.end), args.every * 1_000_000
    return args


def main():
    args = parse_args()
    try:
        import duckdb
        import pandas  # noqa: F401
        import polars  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError as error:
        stop(f"{error}; pip install -r {Path(__file__).with_name('requirements.txt')}")

    objects = raw_objects(args.raw_root, args.start, args.end, args.max_late)
    if not objects:
        stop(f"no object of {args.day} in {args.raw_root}; RAW_ROOT is the folder that holds yyyy/MM/dd/HH/")
    db = duckdb.connect()
    with tempfile.TemporaryDirectory() as folder:
        try:
            load_raw(db, readable(objects, Path(folder)), args)
        except duckdb.Error as error:
            stop(f"DuckDB cannot read the raw objects: {error}")
    has_records = load_records(db, args)

    rows, problems = [], []
    for name, bucketed in ((args.buckets, True), ("daily", False)):
        wanted = summed(db, "raw", args, bucketed)
        table, clocks = published(db, args.out / "aggregates" / name, args, bucketed)
        rows += differences(f"aggregates/{name}", wanted, table)
        if bucketed:
            problems += bucket_problems(clocks, args)
        if has_records:
            rows += differences(f"records ({name})", wanted, summed(db, "records", args, bucketed))
    if has_records:
        problems += time_problems(db, args) + partition_problems(db, args)
    else:
        print(f"no records/local_date={args.day} in {args.out}: only the aggregates were compared")

    if rows:
        print_table(rows)
    for problem in problems:
        print(problem)
    count = db.execute("select count(*) from raw").fetchone()[0]
    if rows or problems:
        print(f"{len(rows)} differing values, {len(problems)} other problems, in {count:,} records of {args.day}")
        sys.exit(1)
    print(f"{args.day} in {args.tz}: {count:,} records of {len(objects)} objects agree, by {', '.join(args.by) or 'nothing'} and {args.every} s")


if __name__ == "__main__":
    main()
