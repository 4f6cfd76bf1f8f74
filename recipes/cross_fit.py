"""Train taggers on all but a part of the training clips each, and let each say what it hears in its part.

    python recipes/cross_fit.py --conf_file confs/tagging/psla_fsd50k.yaml --folds 5 -e exp/cross_fitted
    python recipes/enhance_labels.py --predictions exp/cross_fitted/scores.npz --data_path ... --label_csv ...

Clips of one source (the recording that an ESC clip or a chunk is of, or the `group_column` of a manifest) are in one
part. The same command goes on with a series that was ended. What is written: desed_task/runs/cross_fitting.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe
from desed_task.options import read_options
from desed_task.runs.cross_fitting import cross_fit
from desed_task.runs.tagging_command import add_training_flags, device_of, named_keys
from desed_task.tagging import TaggingOptions
from desed_task.training.ranks import joined
from desed_task.training.run_folder import require_log_dir


def main(argv: Sequence[str]) -> int:
    """Train a tagger for every part, and write what they say."""
    with joined() as ranks:
        arguments = ranks.first(lambda: _parser().parse_args(argv))
        ranks.first(lambda: require_log_dir(arguments.expdir))
        device = ranks.every(lambda: device_of(arguments.device, ranks))
        ranks.use(device)
        overrides = [*named_keys(arguments), *arguments.set]
        options = ranks.first(lambda: read_options(arguments.conf_file, TaggingOptions, overrides))
        cross_fit(options, arguments.folds, arguments.expdir, device, ranks)
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Train a tagger for every part of the training clips, and let it tag its part.")
    parser.add_argument("--conf_file", "--cfg_file", type=Path, required=True, help="YAML conf of a tagger")
    parser.add_argument("--folds", type=int, default=5, help="parts, and trainings")
    parser.add_argument("-e", "--expdir", "--log_dir", type=Path, required=True, help="folder of runs and scores")
    add_training_flags(parser)
    return parser


if __name__ == "__main__":
    run_recipe(main)
