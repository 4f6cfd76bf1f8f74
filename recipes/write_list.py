"""Write a list of the clips that are on disk, as PSLA, AST and AudioTagging Done Right read it.

    python recipes/write_list.py --table data/audioset/balanced_train_segments.csv \\
        --root data/audioset/audio/balanced_train --output data/audioset/balanced_train.json
    python recipes/write_list.py --table balanced_train_segments.csv unbalanced_train_segments.csv \\
        --root audio/balanced_train audio/unbalanced_train --output audioset_bal_unbal_train_data.json

Written is {"data": [{"wav": path, "labels": "mid,mid"}]} with absolute paths, in the order of the tables: what
`prep_AudioSet.py` makes, what recipes/enhance_labels.py enhances and recipes/sampling_weights.py weighs. A training
here reads AudioSet's own tables and needs none of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.data.corpora.audioset import AudioSetOptions, find_class_table, read_audioset
from desed_task.errors import OptionsError


def main(argv: Sequence[str]) -> int:
    """Read the tables, look for their clips, write the list."""
    arguments = _parser().parse_args(argv)
    if len(arguments.table) != len(arguments.root):
        raise OptionsError(
            f"--root: {len(arguments.root)} folders for {len(arguments.table)} tables; name one per --table"
        )
    rows: list[dict[str, str]] = []
    for table, root in zip(arguments.table, arguments.root, strict=True):
        found, num_missing = _rows_of(
            AudioSetOptions(name="audioset", table=table, root=root, classes=arguments.classes)
        )
        rows += found
        show(f"{table}: {len(found)} clips, {num_missing} are not on disk")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    partial = arguments.output.with_name(arguments.output.name + ".partial")
    partial.write_text(json.dumps({"data": rows}, indent=1) + "\n", encoding="utf-8")
    partial.replace(arguments.output)
    return 0


def _rows_of(options: AudioSetOptions) -> tuple[list[dict[str, str]], int]:
    """The rows of the clips of a table that are on disk, and how many are not."""
    clip_set, classes = read_audioset(options, "weak"), find_class_table(options)
    mid_of = dict(zip(classes.names, classes.mids or classes.names, strict=True))
    rows = [
        {"wav": str(clip.path.resolve()), "labels": ",".join(mid_of[tag] for tag in clip_set.tags[clip.audio_id])}
        for clip in clip_set.clips
    ]
    return rows, len(clip_set.missing)


def _parser() -> RecipeParser:
    parser = RecipeParser(description="List the clips of AudioSet that are on disk as the published scripts do.")
    add = parser.add_argument
    add("--table", type=Path, nargs="+", required=True, help="*_segments.csv of AudioSet, or lists of clips (.json)")
    add("--root", type=Path, nargs="+", required=True, help="the folder with the clips of each table")
    add("--classes", type=Path, help="class_labels_indices.csv (the one beside the table, or in the folder above)")
    add("--output", type=Path, required=True, help="the list; an older one is replaced")
    return parser


if __name__ == "__main__":
    run_recipe(main)
