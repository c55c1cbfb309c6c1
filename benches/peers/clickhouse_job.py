#!/usr/bin/env python3
"""One job of the comparison in ClickHouse (chDB): clickhouse_job.py aggregates|records SHAPE DAY_FOLDER OUT_FILE THREADS.

What makes it fast, each measured: JSONEachRow takes glued records as they are; types declared; three columns read for
the aggregates, the others skipped; plain String, for LowCardinality costs half as much again; the local time by the
zone's offset rather than through text; columns that can't be absent are not Nullable.
"""

import sys

import chdb

from fields import AGGREGATED, ALWAYS, SHAPES, column, tree

TYPES = {"text": "String", "int": "Int64", "float": "Float64", "bool": "Bool", "texts": "Array(String)", "json": "String"}
HOURS = [f"17/{hour:02d}" for hour in range(14, 24)] + [f"18/{hour:02d}" for hour in range(16)]
TIME = "parseDateTime64BestEffort(ts, 3, 'Asia/Seoul')"
IN_DAY = """t >= toDateTime64('2022-04-18 00:00:00', 3, 'Asia/Seoul') and t < toDateTime64('2022-04-19 00:00:00', 3, 'Asia/Seoul')"""


def declared(node, nullable):
    if isinstance(node, dict):
        return f"Tuple({', '.join(f'{name} {declared(below, nullable)}' for name, below in node.items())})"
    return f"Nullable({TYPES[node]})" if nullable and node != "texts" else TYPES[node]


def source(day, shape, fields):
    always = {path.split(".")[0] for path in ALWAYS[shape]}
    columns = ", ".join(f"{name} {declared(node, name not in always)}" for name, node in tree(fields).items())
    return f"file('{day}/rawdata/2022/04/{{{','.join(HOURS)}}}/*', 'JSONEachRow', '{columns}', 'auto')"


def aggregates(day, shape):
    read = source(day, shape, [field for field in SHAPES[shape] if field[0] in AGGREGATED])
    return f"""
        select bucket_utc, type, records, sum, mean, min, max, q[1] as p50, q[2] as p95, q[3] as p99, distinct_values as "distinct" from (
            select toStartOfHour(t) as bucket_utc, type, count() as records, sum(v) as sum, avg(v) as mean, min(v) as min, max(v) as max,
                quantilesDD(0.01, 0.5, 0.95, 0.99)(v) as q, uniq(value) as distinct_values
            from (select {TIME} as t, type, value, toFloat64(value) as v from {read} where {IN_DAY})
            group by bucket_utc, type) order by bucket_utc, type"""


def records(day, shape):
    fields = SHAPES[shape]
    columns = ", ".join(f"{path} as {column(path)}" if "." in path else path for path, _ in fields)
    return f"""
        select t as ts_utc, addSeconds(t, timeZoneOffset(t)) as ts_local, {columns}
        from (select *, {TIME} as t from {source(day, shape, fields)} where {IN_DAY})"""


def main():
    if sys.argv[1:] == ["--version"]:
        return print(str(chdb.query("select version()")).strip().strip('"'))
    job, shape, day, out, threads = sys.argv[1:]
    query = {"aggregates": aggregates, "records": records}[job](day, shape)
    chdb.query(f"""{query} into outfile '{out}' truncate format Parquet
        settings max_threads = {int(threads)}, input_format_skip_unknown_fields = 1, input_format_json_read_arrays_as_strings = 1,
            output_format_parquet_compression_method = 'zstd'""")


if __name__ == "__main__":
    main()
