"""Train a sound event detector from a conf, test it, and write its report.

    python recipes/train_sed.py --conf_file confs/sed/crnn.yaml
    python recipes/train_sed.py --conf_file confs/sed/crnn.yaml --strong_real --seeds 3
    torchrun --standalone --nproc_per_node 2 recipes/train_sed.py --conf_file confs/sed/crnn.yaml
    python recipes/train_sed.py --resume_from_checkpoint exp/sed/version_0
    python recipes/train_sed.py --test_from_checkpoint exp/sed/version_0
    python recipes/train_sed.py --eval_from_checkpoint exp/sed/version_0 --conf_file CONF

Every run has a folder of its own, <log_dir>/version_N: conf, checkpoints, energy and reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import run_recipe
from desed_task.runs.command import run_training

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "confs" / "sed" / "crnn.yaml"


def main(argv: Sequence[str]) -> int:
    """Train (or test) a detector."""
    return run_training(argv, DEFAULT_CONF, Path("exp/sed"), "Train a sound event detector from a YAML conf.")


if __name__ == "__main__":
    run_recipe(main)
