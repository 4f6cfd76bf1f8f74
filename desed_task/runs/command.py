"""The command line of every training recipe: its flags, and which course they ask for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from desed_task.command_line import RecipeParser
from desed_task.experiment import SedOptions
from desed_task.options import read_options
from desed_task.runs.testing import test_from_checkpoint
from desed_task.runs.train import train
from desed_task.training.fit import choose_device
from desed_task.training.run_folder import require_log_dir


def run_training(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> int:
    """The whole of a training recipe; returns the exit code. Errors are DesedTaskErrors."""
    arguments = _parse(argv, default_conf, default_log_dir, description)
    device = choose_device(arguments.device)
    log_dir: Path = arguments.log_dir
    require_log_dir(log_dir)
    if arguments.test_from_checkpoint is not None:
        checkpoint = arguments.test_from_checkpoint
        test_from_checkpoint(checkpoint, arguments.conf_file, arguments.set, log_dir, device, arguments.fast_dev_run)
    else:
        options = read_options(arguments.conf_file or default_conf, SedOptions, arguments.set)
        train(options, log_dir, device, arguments.fast_dev_run)
    return 0


def _parse(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> Namespace:
    parser = RecipeParser(description=description)
    parser.add_argument("--conf_file", type=Path, help=f"YAML conf (default {default_conf})")
    parser.add_argument("--log_dir", type=Path, default=default_log_dir, help="each run makes a version_N in here")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--fast_dev_run", action="store_true", help="3 epochs of 2 steps, 8 clips: does it run?")
    parser.add_argument(
        "--test_from_checkpoint", type=Path, help="a checkpoint, or a run folder for its best; no training"
    )
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace one key of the conf")
    return parser.parse_args(argv)
