"""The service under load: what a request costs, what it adds, what it withstands; beside peers and limits.

    python benchmarks/serving.py --json docs/results/serving.json [--peers_python PYTHON] [--esc10 FOLDER]

Rows (--only NAME for one part of them):

    overhead fastapi, overhead litserve, overhead ray   CPU time of a request (serving_overhead.py); the latter two by a
                                      Python that has `litserve` and `ray[serve]`: --peers_python
    simulated throughput, batcher idle                  a device whose time is known (serving_batching.py)
    decode mix                        FLAC and MP3 beside decoding alone (serving_decoding.py)
    overload 5x                       an open loop beyond saturation (serving_overload.py)
    hour upload                       an hour beside short clips (serving_hour.py)
    sigterm, kill decoder             what is lost when processes end (serving_life.py)
    parity                            one recording heard in every way (serving_parity.py)
    cuda                              a CUDA device under the service (serving_cuda.py)

Each row: name, value, unit, peer, peer_value, ratio (how many times better than the peer, or within the limit; above 1
is better), machine; met: whether the aim is reached; lag_p99_ms: how late the generator itself was. Servers are pinned
to one core and the generator to another where there are two. Hostile bodies: serving_hostile.py.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import (
    serving_batching,
    serving_cuda,
    serving_decoding,
    serving_hour,
    serving_life,
    serving_overhead,
    serving_overload,
    serving_parity,
)
from benchmarks.machine import describe_machine, probe_gflops
from benchmarks.row_files import write_rows
from benchmarks.serving_bench import Bench, Row
from desed_task.command_line import RecipeParser, run_recipe, show, whole_number

PARTS: Mapping[str, Callable[[Bench], list[Row]]] = {
    "overhead fastapi": serving_overhead.fastapi_rows,
    "overhead litserve": serving_overhead.litserve_rows,
    "overhead ray": serving_overhead.ray_rows,
    "simulated throughput": serving_batching.throughput_rows,
    "batcher idle": serving_batching.idle_rows,
    "decode mix": serving_decoding.mix_rows,
    "overload 5x": serving_overload.overload_rows,
    "hour upload": serving_hour.hour_rows,
    "sigterm": serving_life.sigterm_rows,
    "kill decoder": serving_life.kill_rows,
    "parity": serving_parity.parity_rows,
    "cuda": serving_cuda.cuda_rows,
}


def main(argv: Sequence[str]) -> int:
    """Run, print, write."""
    parser = RecipeParser(description="The service under load, beside peers and limits.")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", choices=PARTS, action="append", help="this part alone; may be repeated")
    parser.add_argument("--peers_python", type=Path, help="a Python that has litserve and ray[serve]")
    parser.add_argument("--esc10", type=Path, help="folder of ESC-10, whose recordings are decoded and compared")
    parser.add_argument("--bundle", type=Path, help="a real bundle, for the parts decode mix, parity and cuda")
    parser.add_argument("--cuda_device", default="cuda:0", help="the device of the part cuda")
    parser.add_argument("--rounds", type=whole_number(1), default=5, help="how often both sides take turns")
    parser.add_argument("--size", choices=("full", "small"), default="full", help="small: a try, no result")
    arguments = parser.parse_args(argv)
    found: list[Row] = []
    for name in arguments.only or PARTS:
        for row in rows_of(name, arguments):
            found.append(row)
            show(line_of(row))
    if arguments.json is not None:
        write_rows(found, arguments.json)
    return 0


def rows_of(name: str, arguments: Namespace) -> list[Row]:
    """One part's rows, with the machine and what it gave beside them."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            folder=Path(folder),
            small=arguments.size == "small",
            rounds=arguments.rounds,
            peers_python=arguments.peers_python,
            esc10=arguments.esc10,
            bundle=arguments.bundle,
            cuda_device=arguments.cuda_device,
        )
        before = probe_gflops()
        found = PARTS[name](bench)
        gflops = (before + probe_gflops()) / 2
    common: dict[str, Any] = {"machine": describe_machine(), "gflops": gflops, "size": arguments.size}
    return [row | common for row in found]


def line_of(row: Row) -> str:
    """One row in words."""
    if row["value"] is None:
        return f"{row['name']}: {row['note']}"
    ratio = "" if row["ratio"] is None else f", ratio {row['ratio']:.2f}"
    aim = "" if "met" not in row else ", as aimed at" if row["met"] else ", NOT as aimed at"
    return f"{row['name']}: {row['value']:.4g} {row['unit']}, {row['peer']} {row['peer_value']:.4g}{ratio}{aim}"


if __name__ == "__main__":
    run_recipe(main)
