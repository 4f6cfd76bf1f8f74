"""What more mixtures are worth to a tagger: 500 to 4,000 of the recordings of ESC-10's folds 1 to 3, tested on fold 4.

Each LMDB holds the first mixtures of the same part, so the larger ones contain the smaller. All are trained for as many
steps (confs/tagging/esc10_mixtures.yaml), by `train_tagging.py --lmdbs_list`, which makes the runs, the table and the
picture; a study that was ended goes on. Prints mAP of the averaged weights on the test mixtures: the mean over the
seeds with the 95 % interval of the mean, and the difference to the smallest LMDB, paired by seed.

    python recipes/generate_soundscapes.py --conf_file confs/soundscapes/esc10_mixtures.yaml \
        --output_dir data/esc10_mixtures --set soundbank.root=ESC10
    python benchmarks/esc10_sizes.py --mixtures data/esc10_mixtures --json docs/results/esc10_sizes.json
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import describe_machine
from row_files import write_rows

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.data.lmdb_items import items_of_folders
from desed_task.data.lmdb_packing import LmdbPacking, pack_lmdb
from desed_task.errors import OptionsError
from desed_task.metrics.intervals import spread
from desed_task.metrics.report_tables import markdown
from desed_task.runs.size_study import PICTURE
from desed_task.runs.tagging_command import run_tagging
from desed_task.runs.tagging_results import read_results

CONF = Path(__file__).resolve().parent.parent / "confs" / "tagging" / "esc10_mixtures.yaml"
SIZES = (500, 1000, 2000, 4000)
SYSTEM = "averaged on mixtures"
_MAP_SIZE = 1 << 30


def main(argv: Sequence[str]) -> int:
    """Pack, train what is missing, print the table, keep rows and picture."""
    parser = RecipeParser(description="mAP of a tagger against the number of mixtures that it learned from.")
    parser.add_argument("--mixtures", type=Path, required=True, help="what generate_soundscapes.py wrote: train, test")
    parser.add_argument("--sizes", type=whole_number(1), nargs="+", default=list(SIZES), help="mixtures of each LMDB")
    parser.add_argument("--seeds", type=whole_number(1), default=3, help="trainings on each (3)")
    parser.add_argument("--exp", type=Path, default=Path("exp/esc10_sizes"), help="where the runs are")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace a key in every training")
    parser.add_argument("--json", type=Path, help="write the rows here, and the picture beside them")
    arguments = parser.parse_args(argv)
    lmdbs = {size: pack(arguments.mixtures, "train", size) for size in sorted(arguments.sizes)}
    test = pack(arguments.mixtures, "test", None)
    keys = [f"data.evaluation.mixtures.path={test}", *arguments.set]
    sets = [word for key in keys for word in ("--set", key)]
    names = ";".join(map(str, lmdbs.values()))
    flags = ["--conf_file", str(CONF), "--expdir", str(arguments.exp), "--seeds", str(arguments.seeds)]
    run_tagging([*flags, "--lmdbs_list", names, *sets], arguments.exp)
    rows = rows_of(arguments.exp, lmdbs)
    show(table_of(rows))
    if arguments.json:
        write_rows(rows, arguments.json)
        shutil.copyfile(arguments.exp / f"{PICTURE}.svg", arguments.json.with_suffix(".svg"))
    return 0


def pack(mixtures: Path, part: str, size: int | None) -> Path:
    """The LMDB of the first mixtures of a part, or of all; OptionsError where there are fewer."""
    items = items_of_folders([mixtures / part], ",")
    if size is not None and len(items) < size:
        raise OptionsError(f"--sizes {size}: {mixtures / part} has {len(items)} mixtures; take fewer, or generate more")
    path = mixtures.absolute() / "lmdb" / f"{part}{'' if size is None else f'_{size}'}.lmdb"
    pack_lmdb(items[:size], LmdbPacking(path, _MAP_SIZE, 1000, described={"delimiter": ",", "class_names": None}))
    return path


def rows_of(exp: Path, lmdbs: dict[int, Path]) -> list[dict[str, Any]]:
    """One row per size, beside the smallest."""
    values = {size: values_of(exp / path.stem) for size, path in lmdbs.items()}
    smallest = min(values)
    machine = describe_machine()
    rows = []
    for size, of_size in values.items():
        mean, peer = spread(of_size), spread(values[smallest])
        difference = spread([mine - its for mine, its in zip(of_size, values[smallest], strict=True)])
        rows.append(
            {
                "name": f"esc10 sizes mAP of {size} mixtures",
                "value": mean.mean,
                "half_width": mean.half_width,
                "values": of_size,
                "unit": "fraction",
                "peer": f"{smallest} mixtures",
                "peer_value": peer.mean,
                "difference": difference.mean,
                "difference_half_width": difference.half_width,
                "ratio": mean.mean / peer.mean,
                "machine": machine,
            }
        )
    return rows


def values_of(folder: Path) -> list[float]:
    """mAP of the averaged weights of each finished run of a folder, in the order of their seeds."""
    results = [read_results(path.parent) for path in sorted(folder.glob("version_*/results.csv"))]
    figures = [result.figures[0] for of_run in results for result in of_run if result.model == SYSTEM]
    return [figure for figure in figures if figure is not None]


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """A Markdown table: mixtures, mAP, difference to the fewest."""
    cells = [["mixtures", "mAP", f"difference to {rows[0]['peer']}"]]
    for row in rows:
        size = row["name"].split()[-2]
        difference = _with_interval(row["difference"], row["difference_half_width"], "+")
        is_peer = row["peer"].startswith(f"{size} ")
        cells.append([size, _with_interval(row["value"], row["half_width"]), "" if is_peer else difference])
    return markdown(cells)


def _with_interval(mean: float, half_width: float | None, sign: str = "") -> str:
    return f"{mean:{sign}.3f}" + ("" if half_width is None else f" ± {half_width:.3f}")


if __name__ == "__main__":
    run_recipe(main)
