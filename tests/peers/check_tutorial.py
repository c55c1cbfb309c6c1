#!/usr/bin/env python3
"""Runs the tutorial of README.md as it is written, and compares the day that it makes with the table that it sends.

    python tests/peers/check_tutorial.py README.md target/release/rawcat

In goes the page; the `sh` blocks of its section "Try the whole way on this machine" are run by bash in their order, in a new
folder that holds the repository's sample_data, with the binary called `rawcat`. Each command must end with 0, the pipeline
too. Then the Parquet of the day must hold each row of danji.csv once, all values as Python's csv module reads them.

The commands name port 7117 of this machine, which must be free. A command that the binary does not know yet is left out,
and said. Needs bash and polars. Exit code 0: it goes as written. 1: it does not; the folder is kept and named. 2: usage.
"""

import argparse
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
from local_pipeline import Failed, environment  # noqa: E402

SECTION = "Try the whole way on this machine"
PORT = 7117
ALL_SECONDS = 120
# Between the first command and the last the day must not change.
QUIET_SECONDS = 90
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Jobs are controlled as where people type; each command is shown, and the first that fails ends it.
BEFORE = "set -m -e -o pipefail\ntrap 'for job in $(jobs -p); do kill $job || true; done' EXIT\n"
# The pipeline is the first job, and its code is that of the script.
AFTER = "wait %1\n"
# In place of `trace`, which waits for delivery.
UNTIL_DELIVERED = "for _ in $(seq 300); do compgen -G 'rawdata/*/*/*/*/*' >/dev/null && break; sleep 0.1; done\n"


def commands_of(page):
    text = page.read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(SECTION)}\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL)
    if not section:
        raise Failed(f"{page} has no section called {SECTION!r}")
    commands = [line for block in BLOCK.findall(section.group(1)) for line in block.splitlines() if line.strip()]
    if len(commands) < 4 or not commands[0].startswith("rawcat pipeline") or not commands[0].endswith("&"):
        raise Failed(f"the tutorial begins with a pipeline in the background, and has {len(commands)} commands: {commands}")
    return commands


def knows(binary, command):
    return subprocess.run([binary, "help", command], capture_output=True, check=False).returncode == 0


def script_of(commands, binary):
    lines = []
    for command in commands:
        quoted = command.replace("'", "'\\''")
        if command.startswith("rawcat ") and not knows(binary, command.split()[1]):
            print(f"left out, as this binary does not know it yet: {command}", flush=True)
            lines.append(UNTIL_DELIVERED)
            continue
        lines.append(f"printf '$ %s\\n' '{quoted}'\n{command}\n")
    return BEFORE + "".join(lines) + AFTER


def end_session(leader):
    """Ends what the script started and left: processes of its session, which is ours alone."""
    for entry in Path("/proc").iterdir():
        try:
            # Behind the name, which stands in brackets: state, parent, group, session.
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3]) if entry.name.isdigit() else 0
            if session == leader:
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, ValueError, IndexError):
            continue


def play(script, folder, binary):
    """What the commands print."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "rawcat").symlink_to(binary)
    (folder / "tutorial.sh").write_text(script)
    settings = {**environment(), "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PATH": f"{programs}:{os.environ['PATH']}"}
    with open(folder / "printed.txt", "wb") as printed:
        process = subprocess.Popen(
            ["bash", str(folder / "tutorial.sh")], cwd=folder / "clone", env=settings, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed, start_new_session=True
        )
        try:
            code = process.wait(ALL_SECONDS)
        except subprocess.TimeoutExpired:
            code = f"nothing within {ALL_SECONDS} s"
        finally:
            end_session(process.pid)
            process.wait()
    text = (folder / "printed.txt").read_text(encoding="utf-8", errors="replace")
    print(text, end="", flush=True)
    if code != 0:
        raise Failed(f"the tutorial ended with {code}")
    return text


def compare(folder, printed):
    if "sent      200 rows" not in printed:
        raise Failed("`send` does not say that it sent 200 rows")
    with (REPOSITORY / "sample_data/danji-utf8.csv").open(encoding="utf-8-sig", newline="") as table:
        rows = list(csv.reader(table))
    header, rows = rows[0], rows[1:]
    found = polars.concat([polars.read_parquet(path) for path in (folder / "out/records").rglob("*.parquet")], how="diagonal")
    # `trace` sends records of its own, which have no such field.
    mine = found.filter(polars.col(header[0]).is_not_null()).select(header).rows()
    if sorted(map(tuple, rows)) != sorted(mine):
        raise Failed(f"the table has {len(rows)} rows, and the day {len(mine)} of them, or other values")
    print(f"{len(rows)} rows of danji.csv are in the day, with all their values; {len(found) - len(mine)} other records")


def wait_for_a_quiet_hour(zone):
    """`--day today` means one day from the first command to the last."""
    now = datetime.now(zone)
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), zone)
    if midnight - now < timedelta(seconds=QUIET_SECONDS):
        print(f"waiting for midnight in {zone}", flush=True)
        time.sleep((midnight - now).total_seconds() + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", type=Path, metavar="PAGE")
    parser.add_argument("binary", type=Path, metavar="BINARY", help="the rawcat to run")
    args = parser.parse_args()
    binary = args.binary.resolve()
    with socket.socket() as port:
        if port.connect_ex(("127.0.0.1", PORT)) == 0:
            sys.exit(f"check_tutorial: port {PORT}, which the tutorial names, is taken: end what listens there")
    wait_for_a_quiet_hour(ZoneInfo("Asia/Seoul"))
    folder = Path(tempfile.mkdtemp(prefix="rawcat-tutorial-"))
    clone = folder / "clone"
    clone.mkdir()
    shutil.copytree(REPOSITORY / "sample_data", clone / "sample_data")
    shutil.copy(REPOSITORY / "rawcat.toml", clone)
    try:
        commands = commands_of(args.page)
        compare(clone, play(script_of(commands, binary), folder, binary))
    except Failed as failed:
        sys.exit(f"check_tutorial: {failed}\nkept: {folder}")
    shutil.rmtree(folder)
    print(f"{len(commands)} commands of the tutorial, as they are written")


if __name__ == "__main__":
    main()
