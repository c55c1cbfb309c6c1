#!/usr/bin/env python3
"""Objects that `rawcat pipeline --orc` writes, read by pyarrow.

    python3 tests/peers/check_orc.py target/debug/rawcat

In goes a binary that was built with `--features orc`. The pipeline
is told a table with a column of each type that is written, gets records with every kind of value, nulls and a record that is
no row, and must deliver rows that pyarrow reads as they were sent.

Exit code 0: they are the same. 1: they are not.
Needs pyarrow; traffic stays on this machine.
"""

import base64
import datetime
import json
import sys
import tempfile
from pathlib import Path

import pyarrow.orc

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from local_pipeline import Pipeline, call, objects, post  # noqa: E402

COLUMNS = {
    "flag": "boolean", "tiny": "tinyint", "small": "smallint", "whole": "int", "big": "bigint",
    "single": "float", "double": "double", "name": "string", "raw": "binary", "day": "date", "at": "timestamp",
}
ROWS = 3_000


def record(n: int) -> dict:
    if n % 7 == 3:
        return {"big": n}
    return {
        "flag": n % 2 == 0, "tiny": n % 128, "small": -n, "whole": str(n), "big": n * 10**12, "single": n / 2,
        "double": n / 3, "name": f"한빛 {n}", "raw": f"r{n}", "day": f"2022-04-{n % 28 + 1:02}",
        "at": f"2022-04-18T00:00:00.{n:06}Z",
    }


def row(n: int) -> dict:
    sent = record(n)
    expected = {name: sent.get(name) for name in COLUMNS}
    if "day" in sent:
        expected["whole"] = n
        expected["raw"] = sent["raw"].encode()
        expected["day"] = datetime.date(2022, 4, n % 28 + 1)
        expected["at"] = datetime.datetime(2022, 4, 18, 0, 0, 0, n, tzinfo=datetime.timezone.utc)
    return expected


def main() -> int:
    binary = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = {"Columns": [{"Name": name, "Type": kind} for name, kind in COLUMNS.items()]}
        (folder / "table.json").write_text(json.dumps(table))
        with Pipeline(binary, folder, "--orc", "table.json", "--buffer-size", "64KiB") as pipeline:
            connection = pipeline.connection()
            for begin in range(0, ROWS, 500):
                records = [
                    {"Data": base64.b64encode(json.dumps(record(n)).encode()).decode(), "PartitionKey": str(n)}
                    for n in range(begin, begin + 500)
                ]
                put = call(connection, "kinesis", "PutRecords", {"StreamName": "rawcat-stream", "Records": records})
                assert put[0] == 200, put
            assert post(connection, '{"tiny": 200}')[0] == 200
            pipeline.end()
        found = objects(folder / "rawdata")
        orc = [path for key, path in found.items() if key.endswith(".orc")]
        failed = [key for key in found if key.startswith("format-conversion-failed/")]
        assert len(failed) == 1 and len(orc) + 1 == len(found), found
        rows = [row for path in orc for row in pyarrow.orc.read_table(path).to_pylist()]
    rows.sort(key=lambda row: row["big"] if row["name"] is None else row["big"] // 10**12)
    expected = [row(n) for n in range(ROWS)]
    if rows != expected:
        wrong = next((pair for pair in zip(rows, expected) if pair[0] != pair[1]), (len(rows), ROWS))
        print(f"not what was sent: {wrong}", file=sys.stderr)
        return 1
    print(f"{len(orc)} objects, {len(rows)} rows: as they were sent")
    return 0


if __name__ == "__main__":
    sys.exit(main())
