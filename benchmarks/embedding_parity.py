"""Do our embedders and our fusion say what the published ones say? Equal random weights, equal input, the peer aside.

    python benchmarks/embedding_parity.py --desed_task DESED_task --desed_task_2022 DESED_task_2022 \\
        --json embedding_parity.json

Each flag names a checkout of the published code, which runs in a process of its own; parity_desed_*.py beside this file
say which commits and which packages it needs. Exits 1 when any number differs by more than 1e-4.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the parts import one another as `benchmarks.x`

from benchmarks import parity_desed_embedders, parity_desed_fusion
from benchmarks.tagger_parity import report
from desed_task.command_line import RecipeParser, run_recipe
from desed_task.errors import DesedTaskError

_Rows = Callable[[Path], Iterator[dict[str, Any]]]
# flag: (what compares, what the checkout is)
PEERS: Mapping[str, tuple[tuple[_Rows, ...], str]] = {
    "desed_task": ((parity_desed_embedders.rows, parity_desed_fusion.rows), parity_desed_fusion.COMMIT),
    "desed_task_2022": ((parity_desed_fusion.rows_2022,), parity_desed_fusion.COMMIT_2022),
}


def main(argv: Sequence[str]) -> int:
    """Compare, print, write; 1 unless everything agrees."""
    arguments = vars(_parser().parse_args(argv))
    checkouts = {name: arguments[name] for name in PEERS if arguments[name] is not None}
    if not checkouts:
        raise DesedTaskError(f"nothing to compare; name a checkout by {', '.join(f'--{name}' for name in PEERS)}")
    compared = (row for name, checkout in checkouts.items() for compare in PEERS[name][0] for row in compare(checkout))
    return report(compared, arguments["json"])


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Compare embedders and fusion with published code, weights equal and random.")
    for name, (_, commit) in PEERS.items():
        parser.add_argument(f"--{name}", type=Path, help=f"a checkout of github.com/DCASE-REPO/DESED_task at {commit}")
    parser.add_argument("--json", type=Path, help="file that receives the comparison")
    return parser


if __name__ == "__main__":
    run_recipe(main)
