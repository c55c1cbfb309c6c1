#!/usr/bin/env python3
"""Runs the Python blocks of README.md as they are written.

    python3 tests/peers/check_readme.py README.md FOLDER

FOLDER is where `rawcat fetch` was run: it holds `out`, with the day that the page speaks of. Each block runs by itself,
as if somebody had pasted it into a new interpreter; what it prints is shown. Nothing is written.

Exit code 0: all ran. 1: a block did not. 2: usage.
"""

import argparse
import os
import re
import sys
import traceback
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", type=Path, metavar="PAGE")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    if not (args.folder / "out" / "manifests").is_dir():
        parser.error(f"{args.folder} holds no out/manifests/; run rawcat fetch there first")
    page = args.page.read_text(encoding="utf-8")
    os.chdir(args.folder)
    blocks = list(BLOCK.finditer(page))
    if not blocks:
        print(f"{args.page} has no Python blocks", file=sys.stderr)
        return 1
    for block in blocks:
        line = page.count("\n", 0, block.start(1)) + 1
        print(f"-- {args.page.name}, line {line}", flush=True)
        try:
            exec(compile("\n" * (line - 1) + block.group(1), str(args.page), "exec"), {"__name__": "__main__"})
        except Exception:
            traceback.print_exc()
            return 1
    print(f"{len(blocks)} blocks ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
