"""Cross-validate a tagger over the folds of its corpus (ESC-50, ESC-10, LMDBs with folds), each fold tested once.

    python recipes/cross_validate.py --conf_file confs/tagging/gise51_esc50_resnet18.yaml -e exp/esc50
    python recipes/cross_validate.py --conf_file confs/tagging/gise51_esc50_resnet18.yaml -e exp/esc50_begun --seeds 3 \
        --init_from "mAP=0.5635_dprime=1.8195_num_classes=51.pth"
    python recipes/cross_validate.py --conf_file confs/tagging/esc10.yaml --folds 4 -e exp/esc10 \
        --set data.validation=null

The epoch is chosen on the fold behind the tested one, which is left out of the training; with `data.validation=null`
all other folds are trained on and the last epoch counts. The same command goes on with a series that was ended. What is
written: desed_task/runs/cross_validation.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, whole_number
from desed_task.runs.conf import read_tagging_conf
from desed_task.runs.cross_validation import cross_validate
from desed_task.runs.tagging_command import add_training_flags, device_of, named_keys
from desed_task.training.ranks import joined
from desed_task.training.run_folder import require_log_dir


def main(argv: Sequence[str]) -> int:
    """Train and test every fold, and write what all of them reach."""
    with joined() as ranks:
        arguments = ranks.first(lambda: _parser().parse_args(argv))
        ranks.first(lambda: require_log_dir(arguments.expdir))
        device = ranks.every(lambda: device_of(arguments.device, ranks))
        ranks.use(device)
        overrides = [*named_keys(arguments), *arguments.set]
        options = ranks.first(lambda: read_tagging_conf(arguments.conf_file, overrides))
        cross_validate(options, arguments.folds, arguments.seeds, arguments.expdir, device, ranks)
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Train a tagger per fold of its corpus, and test it on that fold.")
    parser.add_argument("--conf_file", "--cfg_file", type=Path, required=True, help="YAML conf of a tagger")
    parser.add_argument("--folds", type=whole_number(2), default=5, help="how many folds the corpus has (5)")
    parser.add_argument("--seeds", type=whole_number(1), default=1, metavar="N", help="trainings per fold (1)")
    parser.add_argument("-e", "--expdir", "--log_dir", type=Path, required=True, help="folder of runs and results")
    add_training_flags(parser)
    return parser


if __name__ == "__main__":
    run_recipe(main)
