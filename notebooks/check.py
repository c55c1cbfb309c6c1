#!/usr/bin/env python3
"""Runs the notebooks' code cells from top to bottom, without Jupyter.

    pip install -r notebooks/requirements.txt
    python3 notebooks/check.py out
    python3 notebooks/check.py out notebooks/01_read_a_day.ipynb --plots pictures

OUT is rawcat's published folder. Each notebook must be valid nbformat 4, and its cells must run in order in one
namespace. Nothing is written but, with --plots, every figure as a PNG. Exit code 0: all ran. 1: a notebook did not. 2: usage.
"""

import argparse
import ast
import json
import os
import sys
import traceback
from pathlib import Path


class Failed(Exception):
    """What is wrong with a notebook."""


def load(path):
    """The notebook's code cells as [(number, source)], after looking at its form."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Failed(f"no JSON: {error}") from None
    if notebook.get("nbformat") != 4 or not isinstance(notebook.get("nbformat_minor"), int):
        raise Failed("not nbformat 4")
    if not isinstance(notebook.get("metadata"), dict) or not isinstance(notebook.get("cells"), list):
        raise Failed("metadata or cells are missing")
    identities = [cell.get("id") for cell in notebook["cells"]]
    if notebook["nbformat_minor"] >= 5 and (None in identities or len(set(identities)) != len(identities)):
        raise Failed("nbformat 4.5 wants a different id for each cell")
    sources = []
    for number, cell in enumerate(notebook["cells"], 1):
        if cell.get("cell_type") not in ("code", "markdown", "raw") or not isinstance(cell.get("metadata"), dict):
            raise Failed(f"cell {number} has no valid cell_type or metadata")
        source = cell.get("source")
        source = "".join(source) if isinstance(source, list) else source
        if not isinstance(source, str):
            raise Failed(f"cell {number} has no source")
        if cell["cell_type"] == "code":
            if not isinstance(cell.get("outputs"), list) or "execution_count" not in cell:
                raise Failed(f"code cell {number} lacks outputs or execution_count")
            sources.append((number, source))
    return sources


def run(path, number, source, namespace):
    """Executes a cell; the value of a last expression is printed, as Jupyter shows it."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise Failed(f"cell {number}, line {error.lineno}: {error.msg} (only plain Python runs here)") from None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    name = f"{path.name}, cell {number}"
    try:
        exec(compile(tree, name, "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), name, "eval"), namespace)
            if value is not None:
                print(value)
    except Exception:
        raise Failed(f"cell {number} failed:\n{source}\n\n{traceback.format_exc(limit=-3)}") from None


def save_figures(path, folder):
    """Saves and closes the figures that the notebook left open."""
    import matplotlib.pyplot as plt

    for number in plt.get_fignums():
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            plt.figure(number).savefig(folder / f"{path.stem}-{number}.png", dpi=80)
    plt.close("all")


def main():
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="rawcat's published folder")
    parser.add_argument("notebooks", type=Path, nargs="*", metavar="NOTEBOOK", help="(default: all beside this script)")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="save the figures there")
    args = parser.parse_args()
    if not (args.out / "manifests").is_dir():
        parser.error(f"{args.out} holds no manifests/; run rawcat fetch first")
    paths = [path.resolve() for path in args.notebooks] or sorted(here.glob("*.ipynb"))
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        parser.error(f"no such notebook: {', '.join(missing) or here}")

    os.environ["RAWCAT_OUT"] = str(args.out.resolve())
    os.environ["MPLBACKEND"] = "Agg"
    plots = args.plots.resolve() if args.plots else None
    failed = 0
    for path in paths:
        os.chdir(path.parent)
        try:
            cells = load(path)
            namespace = {"__name__": "__main__"}
            for number, source in cells:
                run(path, number, source, namespace)
            save_figures(path, plots)
            print(f"{path.name}: {len(cells)} cells ran")
        except Failed as problem:
            failed += 1
            print(f"{path.name}: {problem}", file=sys.stderr)
    print(f"{len(paths) - failed} notebooks ran, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
