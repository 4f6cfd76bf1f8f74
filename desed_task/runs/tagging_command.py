"""The command line of the tagging recipe: its flags, some of them the published scripts', and what they ask for."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch

from desed_task.command_line import RecipeParser
from desed_task.errors import OptionsError
from desed_task.runs.conf import read_tagging_conf
from desed_task.runs.seeds import train_seeds
from desed_task.runs.size_study import train_sizes
from desed_task.runs.tagging import TAGGING
from desed_task.runs.train import resume, train
from desed_task.tagging import TaggingOptions
from desed_task.training.fit import choose_device
from desed_task.training.ranks import ALONE, Ranks, choose_rank_device, joined
from desed_task.training.run_folder import require_log_dir

# The published scripts' flags, as keys of the conf.
_KEYS = {"epochs": "training.n_epochs", "cw": "training.class_weights", "init_from": "training.init_from"}


def run_tagging(argv: Sequence[str], default_log_dir: Path) -> int:
    """The whole of the tagging recipe; returns the exit code. Errors are DesedTaskErrors."""
    with joined() as ranks:
        arguments = ranks.first(lambda: _read_command(argv, default_log_dir))
        device = ranks.every(lambda: device_of(arguments.device, ranks))
        ranks.use(device)
        if arguments.resume_from is not None:
            resume(TAGGING, arguments.resume_from, arguments.set, arguments.expdir, device, ranks)
            return 0
        options = ranks.first(lambda: _read_options(arguments))
        fast = arguments.fast_dev_run
        if arguments.lmdbs_list is not None:
            seeds = arguments.seeds or 1
            train_sizes(options, arguments.lmdbs_list, seeds, arguments.expdir, device, fast, ranks)
        elif arguments.seeds is None:
            train(TAGGING, options, arguments.expdir, device, fast, ranks)
        else:
            train_seeds(TAGGING, options, arguments.seeds, arguments.expdir, device, fast, ranks)
    return 0


def _read_command(argv: Sequence[str], default_log_dir: Path) -> Namespace:
    parser = RecipeParser(description="Train a tagger from a YAML conf, score it, and write its results.")
    parser.add_argument("--conf_file", "--cfg_file", type=Path, help="YAML conf, such as one of confs/tagging")
    parser.add_argument(
        "-e", "--expdir", "--log_dir", type=Path, default=default_log_dir, help="each run makes a version_N in here"
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="train N times, seed by seed; mean, std, intervals")
    parser.add_argument(
        "--lmdbs_list", type=_paths, metavar="A;B", help="train on each of these LMDBs; one table and a picture of all"
    )
    parser.add_argument(
        "--resume_from", "--resume_from_checkpoint", type=Path, help="a run folder or checkpoint that goes on exactly"
    )
    parser.add_argument("--fast_dev_run", action="store_true", help="3 epochs of 2 steps, 8 clips: does it run?")
    add_training_flags(parser)
    arguments = parser.parse_args(argv)
    require_log_dir(arguments.expdir)
    arguments.set = [*named_keys(arguments), *arguments.set]
    if (arguments.conf_file is None) == (arguments.resume_from is None):
        raise OptionsError("name either a conf (--conf_file) or a training to go on with (--resume_from)")
    idle = (arguments.seeds is not None, arguments.fast_dev_run, arguments.lmdbs_list is not None)
    if arguments.resume_from is not None and any(idle):
        raise OptionsError("--seeds, --lmdbs_list and --fast_dev_run do nothing beside --resume_from; leave them out")
    return arguments


def _paths(text: str) -> list[Path]:
    return [Path(word) for part in text.split(";") if (word := part.strip())]


def add_training_flags(parser: RecipeParser) -> None:
    """Declare what any training of taggers may be told beside its conf."""
    add = parser.add_argument
    add("--epochs", type=int, help="in place of training.n_epochs; lengthens a resumed training")
    add("--device", default="auto", help="auto (the default), cpu or cuda:N")
    add("--num_workers", type=int, help="of the published scripts; without effect, one thread is enough")
    add("--cw", type=Path, help="class weights of the loss, in place of training.class_weights")
    add("--init_from", type=Path, help="initial weights, in place of training.init_from")
    add("--set", action="append", default=[], metavar="A.B=C", help="replace one key of the conf")


def named_keys(arguments: Namespace) -> list[str]:
    """Flags that stand for a key of the conf, as overrides."""
    given = {key: getattr(arguments, flag) for flag, key in _KEYS.items()}
    return [f"{key}={value}" for key, value in given.items() if value is not None]


def _read_options(arguments: Namespace) -> TaggingOptions:
    return read_tagging_conf(arguments.conf_file, arguments.set)


def device_of(name: str, ranks: Ranks) -> torch.device:
    """The device that a name stands for, in this rank; OptionsError when it is not there."""
    return choose_device(name) if ranks is ALONE else choose_rank_device(name, ranks)
