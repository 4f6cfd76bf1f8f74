"""Do our taggers say what the published ones say? Equal random weights, equal random input, the published code aside.

    python benchmarks/tagger_parity.py --psla psla --ast ast --panns audioset_tagging_cnn --json tagger_parity.json

Each flag names a checkout of the published code, which runs in a process of its own; parity_*.py beside this file say
which commit and which packages it needs. What it saves is loaded as `--init_from` would load it, so names and loader
are compared with the numbers. Exits 1 when any number differs by more than 1e-4.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the parts import one another as `benchmarks.x`

from benchmarks import (
    parity_ast,
    parity_efficientat,
    parity_fsd50k,
    parity_gise,
    parity_panns,
    parity_psla,
    parity_tal,
)
from benchmarks.machine import describe_machine
from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.errors import DesedTaskError

TOLERANCE = 1e-4
# flag: (what compares, the repository on GitHub)
PEERS: Mapping[str, tuple[Callable[[Path], Iterator[dict[str, Any]]], str]] = {
    "fsd50k": (parity_fsd50k.rows, "SarthakYadav/fsd50k-pytorch"),
    "gise": (parity_gise.rows, "SarthakYadav/GISE-51-pytorch"),
    "psla": (parity_psla.rows, "YuanGongND/psla"),
    "tal": (parity_tal.rows, "lijuncheng16/AudioTaggingDoneRight"),
    "ast": (parity_ast.rows, "YuanGongND/ast"),
    "panns": (parity_panns.rows, "qiuqiangkong/audioset_tagging_cnn"),
    "efficientat": (parity_efficientat.rows, "fschmid56/EfficientAT"),
}


def main(argv: Sequence[str]) -> int:
    """Compare, print, write; 1 unless everything agrees."""
    arguments = vars(_parser().parse_args(argv))
    checkouts = {name: arguments[name] for name in PEERS if arguments[name] is not None}
    if not checkouts:
        raise DesedTaskError(f"nothing to compare; name a checkout by {', '.join(f'--{name}' for name in PEERS)}")
    compared = (row for name, checkout in checkouts.items() for row in PEERS[name][0](checkout))
    return report(compared, arguments["json"])


def report(compared: Iterable[dict[str, Any]], path: Path | None) -> int:
    """Print each row (name, largest_difference, commit) as it comes, write them; 1 unless everything agrees."""
    rows = []
    show(f"{'network':<36}{'difference':>12}  commit")
    for row in compared:
        rows.append(row)
        verdict = "" if row["largest_difference"] <= TOLERANCE else f"  MORE THAN {TOLERANCE:g}"
        show(f"{row['name']:<36}{row['largest_difference']:>12.2g}  {row['commit']}{verdict}")
    if path is not None:
        _write(rows, path)
    return 0 if all(row["largest_difference"] <= TOLERANCE for row in rows) else 1


def _write(rows: Sequence[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    document = [{**row, "tolerance": TOLERANCE, "machine": machine} for row in rows]
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Compare taggers with their published code, weights equal and random.")
    for name, (_, repository) in PEERS.items():
        parser.add_argument(f"--{name}", type=Path, help=f"a checkout of github.com/{repository}")
    parser.add_argument("--json", type=Path, help="file that receives the comparison")
    return parser


if __name__ == "__main__":
    run_recipe(main)
