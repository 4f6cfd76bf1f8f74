"""Strip the silence from isolated sound events, as it was stripped from those of GISE-51.

    python recipes/strip_silence.py --src_dir data/events --tgt_dir data/events_stripped
    python recipes/strip_silence.py --src_dir data/events --tgt_dir data/events_stripped --min_clip 0 \
        --set class_run_seconds.Dog=0.05

<src_dir>/<label>/* becomes <tgt_dir>/<label>/*.wav: silence goes from both ends and from within (what counts as silence
is told in desed_task/soundscapes/stripping.py), what is shorter than --min_clip is repeated, and what has under 220
samples is dropped. The flags are those of the published script, and so are the classes that are stripped with more
care. An interrupted run is completed, a folder made by other options is refused.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.options import check_options, override_options
from desed_task.soundscapes.stripped_folders import strip_folders
from desed_task.soundscapes.stripping import StripOptions

_log = logging.getLogger(__name__)


def main(argv: Sequence[str]) -> None:
    """Strip every recording; print how many are left of each class."""
    arguments = _parser().parse_args(argv)
    tree = {"name": "strip_silence", "min_clip_seconds": arguments.min_clip}
    options = override_options(check_options(tree, StripOptions, default_origin="--min_clip"), arguments.set)
    dropped = strip_folders(arguments.src_dir, arguments.tgt_dir, options, arguments.num_jobs)
    for label, names in dropped.items():
        for name in names:
            _log.info("%s/%s: too short without its silence; left out", label, name)
    show(_summary(arguments.tgt_dir, dropped))


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Strip the silence from isolated sound events.")
    parser.add_argument("--src_dir", type=Path, required=True, help="folder with a folder of recordings per class")
    parser.add_argument("--tgt_dir", type=Path, required=True, help="folder that receives the same without silence")
    parser.add_argument("--min_clip", type=float, default=1.25, help="seconds to which shorter events are repeated")
    parser.add_argument("--num_jobs", type=whole_number(1), default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="replace one option of the stripping"
    )
    return parser


def _summary(target: Path, dropped: Mapping[str, Sequence[str]]) -> str:
    kept = {label: len(list((target / label).glob("*.wav"))) for label in dropped}
    width = max(map(len, kept))
    rows = [f"{label:<{width}}  {count:6d} kept  {len(dropped[label]):4d} dropped" for label, count in kept.items()]
    return "\n".join([*rows, f"{target}: {sum(kept.values())} recordings"])


if __name__ == "__main__":
    run_recipe(main)
