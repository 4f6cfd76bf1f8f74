"""The command line of every training recipe: its flags, and which course they ask for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from desed_task.command_line import RecipeParser, add_scaler_range, scaler_range_of
from desed_task.errors import OptionsError
from desed_task.experiment import SedOptions
from desed_task.runs.conf import read_conf
from desed_task.runs.detection import DETECTION
from desed_task.runs.eval_set import eval_from_checkpoint
from desed_task.runs.seeds import train_seeds
from desed_task.runs.testing import test_from_checkpoint
from desed_task.runs.train import resume, train
from desed_task.training.fit import choose_device
from desed_task.training.ranks import ALONE, Ranks, choose_rank_device, joined
from desed_task.training.run_folder import require_log_dir


def run_training(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> int:
    """The whole of a training recipe; returns the exit code. Errors are DesedTaskErrors.

    Under torchrun every process calls this; rank 0 reads the command line and the conf for all.
    """
    with joined() as ranks:
        arguments = ranks.first(lambda: _read_command(argv, default_conf, default_log_dir, description))
        device = ranks.every(lambda: _device_of(arguments, ranks))
        ranks.use(device)
        _follow(arguments, default_conf, device, ranks)
    return 0


def _read_command(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> Namespace:
    arguments = _parse(argv, default_conf, default_log_dir, description)
    require_log_dir(arguments.log_dir)
    _require_no_idle_flags(arguments)
    scaler_range_of(arguments)
    return arguments


def _follow(arguments: Namespace, default_conf: Path, device: torch.device, ranks: Ranks) -> None:
    """Take the course that the flags ask for."""
    log_dir: Path = arguments.log_dir
    fast, beside = arguments.fast_dev_run, (arguments.conf_file, arguments.set)
    around = (*beside, log_dir, device, fast, scaler_range_of(arguments))
    if arguments.test_from_checkpoint is not None:
        ranks.alone(lambda: test_from_checkpoint(arguments.test_from_checkpoint, *around))
    elif arguments.eval_from_checkpoint is not None:
        ranks.alone(lambda: eval_from_checkpoint(arguments.eval_from_checkpoint, *around))
    elif arguments.resume_from_checkpoint is not None:
        resume(DETECTION, arguments.resume_from_checkpoint, arguments.set, log_dir, device, ranks)
    else:
        options = ranks.first(lambda: _read_options(arguments, default_conf))
        if arguments.seeds is None:
            train(DETECTION, options, log_dir, device, fast, ranks)
        else:
            train_seeds(DETECTION, options, arguments.seeds, log_dir, device, fast, ranks)


def _read_options(arguments: Namespace, default_conf: Path) -> SedOptions:
    options = read_conf(arguments.conf_file or default_conf, arguments.set)
    return options.with_strong_real() if arguments.strong_real else options


def _device_of(arguments: Namespace, ranks: Ranks) -> torch.device:
    if ranks is ALONE:
        return choose_device(_device_name(arguments.device, arguments.gpus))
    if arguments.gpus not in (None, "0"):
        raise OptionsError(f"--gpus {arguments.gpus}: torchrun says how many (--nproc_per_node); leave the flag out")
    return choose_rank_device(_device_name(arguments.device, arguments.gpus), ranks)


def _device_name(device: str | None, gpus: str | None) -> str:
    """`--device`, or what the field's `--gpus` (how many: 0 is the CPU) says; OptionsError when both contradict."""
    if gpus is None:
        return device or "auto"
    if gpus not in ("0", "1"):
        raise OptionsError(f"--gpus {gpus}: write 0 (the CPU) or 1 (one GPU); --device cuda:N names which")
    if device in (None, "auto"):
        return "cpu" if gpus == "0" else "cuda:0"
    assert device is not None
    if device.startswith("cuda") != (gpus == "1"):
        raise OptionsError(f"--gpus {gpus} contradicts --device {device}; leave one of them out")
    return device


def _require_no_idle_flags(arguments: Namespace) -> None:
    """OptionsError for a flag that the course that is asked for would ignore."""
    of_training = {"--strong_real": arguments.strong_real, "--seeds": arguments.seeds is not None}
    if arguments.resume_from_checkpoint is not None:
        of_training["--conf_file"] = arguments.conf_file is not None
        of_training["--fast_dev_run"] = arguments.fast_dev_run
    for course in ("resume_from_checkpoint", "test_from_checkpoint", "eval_from_checkpoint"):
        idle = [flag for flag, given in of_training.items() if given and getattr(arguments, course, None) is not None]
        if idle:
            raise OptionsError(f"{idle[0]} does nothing beside --{course}; leave one of them out")
    if arguments.scaler_range is not None and not (arguments.test_from_checkpoint or arguments.eval_from_checkpoint):
        raise OptionsError(
            "--scaler_range is of a published checkpoint; a training has --set features.scaler_range=[LOW,HIGH]"
        )


def _parse(argv: Sequence[str], default_conf: Path, default_log_dir: Path, description: str) -> Namespace:
    parser = RecipeParser(description=description)
    parser.add_argument("--conf_file", type=Path, help=f"YAML conf (default {default_conf})")
    parser.add_argument("--log_dir", type=Path, default=default_log_dir, help="each run makes a version_N in here")
    parser.add_argument(
        "--strong_real", action="store_true", help="add the conf's real strong recordings (strong_real)"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="train N times, seed by seed; mean, std, intervals")
    course = parser.add_mutually_exclusive_group()
    course.add_argument(
        "--resume_from_checkpoint", type=Path, help="a run folder, or a checkpoint, whose training goes on exactly"
    )
    course.add_argument(
        "--test_from_checkpoint", type=Path, help="a checkpoint, or a run folder for its best; no training"
    )
    course.add_argument(
        "--eval_from_checkpoint", type=Path, help="as test, on recordings without labels (data.eval); no scoring"
    )
    parser.add_argument("--device", help="auto (the default), cpu or cuda:N")
    parser.add_argument("--gpus", help="0 for the CPU, 1 for one GPU; the field's way to say --device")
    parser.add_argument("--fast_dev_run", action="store_true", help="3 epochs of 2 steps, 8 clips: does it run?")
    add_scaler_range(parser)
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C", help="replace one key of the conf")
    return parser.parse_args(argv)
