"""The command behind evaluation.py: run the rows, print a table, write JSON.

python -m benchmarks.evaluation_table [the flags of evaluation.py]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.evaluation_rows import ROWS, Row
from benchmarks.row_files import write_rows
from desed_task.command_line import RecipeParser, run_recipe, show, whole_number


def main(argv: Sequence[str]) -> int:
    """Run, print, write."""
    parser = RecipeParser(description="Speed and memory of the evaluator beside those of other scorers.")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", choices=ROWS, action="append", help="this row alone; may be repeated")
    parser.add_argument("--peer_python", type=Path, help="a Python that has the other scorers (default: this one)")
    parser.add_argument("--data", type=Path, help="folder of a published system, for the row of operating points")
    parser.add_argument("--repeats", type=whole_number(1), default=5, help="how often both sides are timed in turn")
    parser.add_argument("--size", choices=("full", "small"), default="full", help="small: a try, no result")
    arguments = parser.parse_args(argv)
    rows: list[Row] = []
    for name in arguments.only or ROWS:
        for row in ROWS[name](arguments):
            rows.append(row | {"size": arguments.size})
            show(_line(row))
    if arguments.json is not None:
        write_rows(rows, arguments.json)
    return 0


def _line(row: Row) -> str:
    ours = f"{row['name']:<38} {row['value']:>12.4g} {row['unit']:<6} threads {row['threads']}"
    peer = f"{row['peer']} {row['peer_value']:.4g}, ratio {row['ratio']:.3g}" if row["peer"] else ""
    return f"{ours}  {peer:<44} [{row['gflops']:.0f} GFLOP/s] {row['note']}"


if __name__ == "__main__":
    run_recipe(main)
