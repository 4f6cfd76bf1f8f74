"""Average the weights of several checkpoints of one system to one checkpoint, for tests and export as any other.

    python recipes/average_weights.py --checkpoints A.ckpt B.ckpt C.ckpt --output mean.ckpt
    python recipes/average_weights.py --folder runs/psla/models --epochs 16-30 --mode published --output wa.pth

--epochs: the numbers in the files' names (epoch=16-step=3000.ckpt, audio_model.16.pth), both ends included. Detectors
have student and teacher averaged, taggers their model; a bare state dict stays one. --mode published counts the first
checkpoint twice, as PSLA's code does. A training averages by itself, without keeping each epoch, when its conf says so
(training.weight_averaging).
"""

from __future__ import annotations

import io
import re
from argparse import Namespace
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.errors import OptionsError
from desed_task.training.checkpoint_averaging import average_checkpoints, find_epochs


def main(argv: Sequence[str]) -> int:
    """Average, write, and say of what."""
    arguments = _parser().parse_args(argv)
    output: Path = arguments.output
    if output.is_dir():
        raise OptionsError(f"--output {output}: is a folder; name the file of the average")
    paths = _paths(arguments)
    if output.resolve() in {path.resolve() for path in paths}:
        raise OptionsError(f"--output {output}: is one of the checkpoints that are averaged; name another file")
    averaged = average_checkpoints(paths, arguments.mode, _with_progress)
    _write(averaged, output)
    show(f"{output}: the {arguments.mode} average of {len(paths)} checkpoints, {paths[0].name} to {paths[-1].name}")
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Average the weights of several checkpoints of one system.")
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--checkpoints", type=Path, nargs="+", metavar="FILE", help="checkpoints, in their order")
    which.add_argument("--folder", type=Path, help="folder of checkpoints, with --epochs")
    add("--epochs", metavar="FIRST-LAST", help="of --folder, by the numbers in the files' names")
    add("--output", type=Path, required=True, help="file of the average; an older one is replaced")
    add("--mode", choices=("mean", "published"), default="mean", help="published: the first counts twice, as in PSLA")
    return parser


def _paths(arguments: Namespace) -> list[Path]:
    if arguments.folder is None:
        if arguments.epochs is not None:
            raise OptionsError("--epochs: says which checkpoints of --folder; leave it out with --checkpoints")
        return list(arguments.checkpoints)
    found = re.fullmatch(r"(\d+)-(\d+)", arguments.epochs or "")
    if found is None or int(found[1]) > int(found[2]):
        raise OptionsError(f"--epochs {arguments.epochs or '(missing)'}: write FIRST-LAST, such as 16-30")
    return find_epochs(arguments.folder, int(found[1]), int(found[2]))


def _with_progress(paths: Iterable[Path]) -> Iterable[Path]:
    bar: Iterable[Path] = tqdm(paths, unit="checkpoint", desc="averaging", disable=None)
    return bar


def _write(averaged: dict[str, object], path: Path) -> None:
    content = io.BytesIO()  # a full disk would make a RuntimeError of torch's
    torch.save(averaged, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content.getbuffer())
    partial.replace(path)


if __name__ == "__main__":
    run_recipe(main)
