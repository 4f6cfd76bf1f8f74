"""Write how often each clip of a list should be drawn, so that rare classes are heard as often as frequent ones.

    python recipes/sampling_weights.py --dataset audioset --label_indices_path class_labels_indices.csv \\
        --datafile_path datafiles/balanced_train_data.json
    python recipes/sampling_weights.py --data_path FSD50K.ground_truth/dev.csv --label_indices_path vocabulary.csv

Writes <list>_weight.csv beside the list, one number per line, as PSLA's, AST's and AudioTagging Done Right's
gen_weight_file.py do; training here computes the weights itself and needs no file. Of FSD50K's dev.csv the rows of
`train` are weighed, since those are trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.data.corpora.class_tables import read_class_table
from desed_task.errors import OptionsError
from desed_task.labelling.class_balance import PSLA_OFFSET, sampling_weights
from desed_task.labelling.label_lists import read_label_list
from desed_task.labelling.weight_files import weight_path, write_weights

_LOG = logging.getLogger(__name__)

NUM_CLASSES = {"audioset": 527, "fsd50k": 200}
CLASS_TABLE = "class_labels_indices.csv"


def main(argv: Sequence[str]) -> int:
    """Read the list, write its weights, say their sum."""
    arguments = _parser().parse_args(argv)
    if arguments.offset <= 0:
        raise OptionsError(f"--offset {arguments.offset:g}: must be above 0, or a class without clips has no weight")
    table_path = arguments.label_indices_path or arguments.data_path.parent / CLASS_TABLE
    table = read_class_table(table_path)
    if not table.mids:
        raise OptionsError(f"--label_indices_path {table_path}: has no mids; name {CLASS_TABLE} or vocabulary.csv")
    expected = NUM_CLASSES.get(arguments.dataset, len(table.mids))
    if len(table.mids) != expected:
        raise OptionsError(
            f"--label_indices_path {table_path}: {len(table.mids)} classes, {arguments.dataset} has {expected}; name "
            f"its own table"
        )
    clips = read_label_list(arguments.data_path, table.mids)
    weights = sampling_weights(clips.labels, len(table.mids), arguments.offset)
    path = weight_path(arguments.data_path)
    write_weights(weights, path)
    show(
        f"{len(clips)} clips, {sum(map(len, clips.labels))} labels, weights from {weights.min():.6g} to "
        f"{weights.max():.6g}, sum {weights.sum():.6f}"
    )
    _LOG.info("weights: %s", path)
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Sampling weights of a list of labelled clips.")
    add = parser.add_argument
    add(
        "--data_path",
        "--datafile_path",
        type=Path,
        required=True,
        help="the list: a json with wav and labels, or dev.csv of FSD50K",
    )
    add("--label_indices_path", type=Path, help=f"the table of classes ({CLASS_TABLE} beside the list)")
    add("--dataset", choices=NUM_CLASSES, help="refuse a table of another number of classes than this set has")
    add("--offset", type=float, default=PSLA_OFFSET, help="added to a class's number of clips (EfficientAT: 100)")
    return parser


if __name__ == "__main__":
    run_recipe(main)
