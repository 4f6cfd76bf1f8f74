"""Train a detector that listens to a pretrained network: train_sed.py under the name that the field gives this.

    python recipes/extract_embeddings.py --conf_file confs/sed/crnn_ast.yaml
    python recipes/train_pretrained.py --conf_file confs/sed/crnn_ast.yaml
    python recipes/train_pretrained.py --conf_file confs/sed/crnn_panns.yaml --set embedders.panns.mode=frozen
    python recipes/train_pretrained.py --test_from_checkpoint exp/sed/version_0
    python recipes/train_pretrained.py --test_from_checkpoint PUBLISHED.ckpt --set embedders.ast.store=embeddings/ast

Flags, run folders and what is written are those of train_sed.py, which takes these confs as well; only the conf that is
read where none is named is another. A published pretrained.yaml (2022-2024) is understood: docs/compatibility.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import run_recipe
from desed_task.runs.command import run_training

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "confs" / "sed" / "crnn_ast.yaml"


def main(argv: Sequence[str]) -> int:
    """Train (or test) a detector with embeddings."""
    description = "Train a sound event detector that listens to pretrained embeddings, from a YAML conf."
    return run_training(argv, DEFAULT_CONF, Path("exp/sed"), description)


if __name__ == "__main__":
    run_recipe(main)
