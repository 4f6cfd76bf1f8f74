"""Train an audio tagger from a conf, evaluate best epoch, averaged weights and ensemble, and write their results.

    python recipes/train_tagging.py --conf_file confs/tagging/esc10.yaml
    python recipes/train_tagging.py --conf_file confs/tagging/psla_fsd50k.yaml -e exp/psla --seeds 3
    torchrun --standalone --nproc_per_node 2 recipes/train_tagging.py --conf_file confs/tagging/psla_fsd50k.yaml
    python recipes/train_tagging.py --resume_from exp/tagging/version_0

Every run has a folder of its own, <expdir>/version_N: conf, checkpoints, energy, results.csv and reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import run_recipe
from desed_task.runs.tagging_command import run_tagging


def main(argv: Sequence[str]) -> int:
    """Train (or go on with) a tagger."""
    return run_tagging(argv, Path("exp/tagging"))


if __name__ == "__main__":
    run_recipe(main)
