#!/usr/bin/env python3
"""Compares what several programs made of one day.

For aggregates: the same hours and types, the same numbers of records, minima and maxima; sums and means within
1e-12 of their size; quantiles within 5 % and distinct counts within 15 %, for these are estimates,
where a group has 500 records or more: of fewer, neighbouring ranks lie further apart than that.
For records: the same rows by hour and type, with the same sum of `value`; with --all-columns also the same columns, with the
same values in each: numbers by sum and range, everything else by a hash that does not depend on the order of rows.
An absent list is null to some and empty to others: lists are compared by their elements.

Prints problems on stderr. On stdout, as JSON: the number of records, and a digest of them by hour and type.
Exit code 1 where there are problems.
"""

import argparse
import hashlib
import json
import math
import sys

import duckdb

MOST_SHOWN = 10
# Relative. DuckDB's HyperLogLog is off by up to a tenth now and then.
TOLERANCE = {"records": 0.0, "min": 0.0, "max": 0.0, "sum": 1e-12, "mean": 1e-12, "p50": 0.05, "p95": 0.05, "p99": 0.05, "distinct": 0.15}
ESTIMATED = ("p50", "p95", "p99", "distinct")
LEAST_RECORDS = 500


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def source(path):
    return f"read_parquet({literal(path)}, hive_partitioning = false)"


def described(db, path):
    return {row[0]: row[1] for row in db.execute(f"describe select * from {source(path)}").fetchall()}


def microseconds(column, kind):
    """Microseconds of a timestamp; what has no zone is a time in UTC, or the same clock everywhere."""
    return f"epoch_us({column})" if kind.startswith("TIMESTAMP") else f"{column}::bigint * 1000000"


def by_hour_and_type(db, query, names):
    return {row[:2]: dict(zip(names, row[2:])) for row in db.execute(query).fetchall()}


def aggregates(db, path):
    columns = described(db, path)
    names = list(TOLERANCE)
    spelt = [name if name in columns else f"value_{name}" for name in names]
    bucket = microseconds("bucket_utc", columns["bucket_utc"])
    selected = ", ".join(f'"{name}"' for name in spelt)
    return by_hour_and_type(db, f"select {bucket}, type, {selected} from {source(path)} where records > 0", names)


def records(db, path):
    columns = described(db, path)
    hour = f"{microseconds('ts_utc', columns['ts_utc'])} // 3600000000 * 3600000000"
    names = ["records", "sum", "min", "max"]
    return by_hour_and_type(
        db,
        f"select {hour}, type, count(*), fsum(v), min(v), max(v) from (select *, value::double as v from {source(path)}) group by 1, 2",
        names,
    )


def differ(name, one, other):
    if one is None or other is None:
        return one is not other
    return not math.isclose(one, other, rel_tol=TOLERANCE[name], abs_tol=0.0)


def table_problems(tables):
    (first, wanted), *others = tables.items()
    if not wanted:
        yield f"{first} found no records"
    for name, table in others:
        for key in sorted(wanted.keys() ^ table.keys(), key=str):
            yield f"{key}: only in {first if key in wanted else name}"
        for key in sorted(wanted.keys() & table.keys(), key=str):
            for column in wanted[key]:
                one, other = wanted[key][column], table[key][column]
                if column in ESTIMATED and wanted[key]["records"] < LEAST_RECORDS:
                    continue
                if differ(column, one, other):
                    yield f"{key} {column}: {one} in {first}, {other} in {name}"


def summary(column, kind):
    """SQL of a few values that are equal where a column's values are, whatever the order of its rows."""
    column = f'"{column}"'
    if kind.endswith("[]"):
        return [f"sum(len({column}))", f"sum(list_sum(list_transform({column}, lambda x: hash(x)::hugeint)))"]
    if kind in ("DOUBLE", "FLOAT"):
        return [f"count({column})", f"fsum({column})", f"min({column})", f"max({column})"]
    if kind in ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UTINYINT", "BOOLEAN"):
        return [f"count({column})", f"sum({column}::hugeint)", f"sum(hash({column}::bigint)::hugeint)"]
    if kind.startswith("TIMESTAMP"):
        return [f"count({column})", f"sum(hash(epoch_us({column}))::hugeint)"]
    return [f"count({column})", f"sum(hash({column}::varchar)::hugeint)"]


def column_problems(db, files):
    summaries = {}
    for name, path in files.items():
        columns = described(db, path)
        parts = {column: summary(column, kind) for column, kind in columns.items()}
        row = db.execute(f"select {', '.join(part for some in parts.values() for part in some)} from {source(path)}").fetchone()
        values = iter(row)
        summaries[name] = {column: tuple(next(values) for _ in some) for column, some in parts.items()}
    (first, wanted), *others = summaries.items()
    for name, columns in others:
        for column in sorted(wanted.keys() ^ columns.keys()):
            yield f"column {column}: only in {first if column in wanted else name}"
        for column in sorted(wanted.keys() & columns.keys()):
            one, other = wanted[column], columns[column]
            if len(one) != len(other) or not all(map(close, one, other)):
                yield f"column {column}: {one} in {first}, {other} in {name}"


def close(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-11, abs_tol=1e-6)
    return one == other


def parse_args():
    def named(text):
        name, separator, path = text.partition("=")
        if not separator:
            raise argparse.ArgumentTypeError(f"{text} is not NAME=FILE")
        return name, path

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=("aggregates", "records"))
    parser.add_argument("--all-columns", action="store_true", help="of records, compare every column")
    parser.add_argument("files", type=named, nargs="+", metavar="NAME=FILE", help="who made it, and the Parquet file")
    args = parser.parse_args()
    return args.job, args.all_columns, dict(args.files)


def main():
    job, all_columns, files = parse_args()
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'")
    read = {"aggregates": aggregates, "records": records}[job]
    tables = {name: read(db, path) for name, path in files.items()}
    problems = list(table_problems(tables))
    if all_columns and job == "records":
        problems += column_problems(db, files)
    for problem in problems[:MOST_SHOWN]:
        print(problem, file=sys.stderr)
    if len(problems) > MOST_SHOWN:
        print(f"and {len(problems) - MOST_SHOWN} more", file=sys.stderr)
    table = next(iter(tables.values()))
    counts = sorted((key[0], key[1], row["records"]) for key, row in table.items())
    digest = hashlib.sha256(json.dumps(counts).encode()).hexdigest()
    print(json.dumps({"records": sum(count for *_, count in counts), "digest": digest}))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
