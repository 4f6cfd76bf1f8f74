"""How fast is training, and on how little memory and energy? Components and the whole, beside peers and limits.

    python benchmarks/training.py --json docs/results/training.json [--peer PUBLISHED_CODE]

Rows (--only NAME for one part of them):

    step           one step of the baseline's network, batch 48 (training_step.py); --peer: a checkout of the published
                   code, else our own plain step of confs/sed/compat_2022.yaml
    data path      batches from the packed store beside a loop of soundfile (training_data.py)
    memory         anonymous memory as the store grows (training_memory.py)
    online scenes  scenes mixed at each step beside the renderer (training_scenes.py)
    schedule       23,600 steps on a CUDA machine, extrapolated from 1,000 (training_schedule.py)

Each row: name, value, unit, peer, peer_value, ratio (how many times better than the peer; above 1 is better), machine;
gflops is a small matrix product beside it, which says what the machine gave at that moment.
"""

from __future__ import annotations

import importlib
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.machine import describe_machine, probe_gflops
from benchmarks.row_files import write_rows
from desed_task.command_line import RecipeParser, run_recipe, show, whole_number

Row = dict[str, Any]
# Name of the part -> its module, imported when it is its turn.
PARTS: Mapping[str, str] = {
    "step": "benchmarks.training_step",
    "data path": "benchmarks.training_data",
    "memory": "benchmarks.training_memory",
    "online scenes": "benchmarks.training_scenes",
    "schedule": "benchmarks.training_schedule",
}


def main(argv: Sequence[str]) -> int:
    """Run, print, write."""
    parser = RecipeParser(description="Speed, memory and energy of training beside peers and limits.")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be repeated")
    parser.add_argument("--peer", type=Path, help="a checkout of the published code, for the row of the step")
    parser.add_argument("--repeats", type=whole_number(1), default=5, help="how often both sides are timed in turn")
    parser.add_argument("--size", choices=("full", "small"), default="full", help="small: a try, no result")
    arguments = parser.parse_args(argv)
    rows: list[Row] = []
    for name in arguments.only or PARTS:
        for row in rows_of(name, arguments):
            rows.append(row)
            show(line_of(row))
    if arguments.json is not None:
        write_rows(rows, arguments.json)
    return 0


def rows_of(name: str, arguments: Namespace) -> list[Row]:
    """One part's rows, with the machine and the probe beside them."""
    before = probe_gflops()
    found: list[Row] = importlib.import_module(PARTS[name]).rows(arguments)
    gflops = (before + probe_gflops()) / 2
    common = {"machine": describe_machine(), "gflops": gflops, "size": arguments.size}
    return [row | common for row in found]


def line_of(row: Row) -> str:
    """A row of the table on the screen."""
    value = "not measured" if row["value"] is None else f"{row['value']:.4g} {row['unit']}"
    peer = "" if row["peer_value"] is None else f"{row['peer']} {row['peer_value']:.4g}"
    ratio = "" if row["ratio"] is None else f"ratio {row['ratio']:.3g}"
    note = row.get("note") or ""
    return f"{row['name']:<34} {value:>20}  {peer:<40} {ratio:<12} [{row['gflops']:.0f} GFLOP/s] {note}".rstrip()


if __name__ == "__main__":
    run_recipe(main)
