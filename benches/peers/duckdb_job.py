#!/usr/bin/env python3
"""One job of the comparison in DuckDB: duckdb_job.py aggregates|records SHAPE DAY_FOLDER OUT_FILE THREADS.

What makes it fast, each measured: `unstructured` because records are glued; types declared; three columns read for
the aggregates; times as timestamps in UTC, which spares the zone's calendar (hours of Seoul are hours of UTC);
no order kept among the records; Parquet of version 2.
"""

import sys
from pathlib import Path

import duckdb

from fields import AGGREGATED, SHAPES, column, tree

TYPES = {"text": "VARCHAR", "int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "texts": "VARCHAR[]", "json": "JSON"}


def quoted(path):
    return ".".join(f'"{name}"' for name in path.split("."))


def declared(node):
    if isinstance(node, str):
        return TYPES[node]
    below = ", ".join(f"{quoted(name)} {declared(child)}" for name, child in node.items())
    return f"STRUCT({below})"


def source(files, fields):
    columns = ", ".join(f"{name}: '{declared(node)}'" for name, node in tree(fields).items())
    compression = "gzip" if files[0].endswith(".gz") else "none"
    return f"read_json({files!r}, format = 'unstructured', compression = '{compression}', columns = {{{columns}}})"


IN_DAY = "ts_utc >= timestamp '2022-04-17 15:00:00' and ts_utc < timestamp '2022-04-18 15:00:00'"


def aggregates(files, shape, out):
    read = source(files, [field for field in SHAPES[shape] if field[0] in AGGREGATED])
    return f"""copy (
        select bucket_utc, type, records, sum, mean, min, max, q[1] as p50, q[2] as p95, q[3] as p99, "distinct" from (
            select time_bucket(interval 1 hour, ts_utc) as bucket_utc, type, count(*) as records, sum(v) as sum, avg(v) as mean,
                min(v) as min, max(v) as max, approx_quantile(v, [0.5, 0.95, 0.99]) as q, approx_count_distinct(value) as "distinct"
            from (select ts::timestamp as ts_utc, type, value, value::double as v from {read})
            where {IN_DAY} group by 1, 2) order by bucket_utc, type
        ) to '{out}'"""


def records(files, shape, out):
    fields = SHAPES[shape]
    columns = ", ".join(f"{quoted(path)} as {column(path)}" for path, _ in fields)
    read = source(files, fields)
    return f"""copy (
        select ts_utc at time zone 'UTC' as ts_utc, ts_utc + interval 9 hours as ts_local, {columns}
        from (select *, ts::timestamp as ts_utc from {read}) where {IN_DAY}
        ) to '{out}' (compression zstd, parquet_version v2)"""


def main():
    if sys.argv[1:] == ["--version"]:
        return print(duckdb.__version__)
    job, shape, day, out, threads = sys.argv[1:]
    hours = [f"17/{hour:02d}" for hour in range(14, 24)] + [f"18/{hour:02d}" for hour in range(16)]
    files = [str(path) for hour in hours for path in sorted(Path(day, "rawdata/2022/04", hour).iterdir())]
    db = duckdb.connect()
    db.execute(f"set threads = {int(threads)}")
    db.execute("set timezone = 'UTC'")
    db.execute("set preserve_insertion_order = false")
    db.execute({"aggregates": aggregates, "records": records}[job](files, shape, out))


if __name__ == "__main__":
    main()
