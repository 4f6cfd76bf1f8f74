"""What every recipe shares: flags that accept - and _ alike, one sentence and exit code 2 for refused input."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from desed_task.errors import DesedTaskError, OptionsError, RunStoppedError

# A write that a full disk refuses does not say of which file.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class RecipeParser(argparse.ArgumentParser):
    """argparse whose flags may be spelt with - or _ (`--conf-file`, `--conf_file`), never abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, after each long flag is spelt as it was declared; what follows `--` is left alone."""
        words = list(sys.argv[1:] if args is None else args)
        end = words.index("--") if "--" in words else len(words)
        declared = {_hyphenated(flag): flag for flag in self._option_string_actions}
        respelt = [_respelt(word, declared) for word in words[:end]]
        return super().parse_known_args(respelt + words[end:], namespace)


def add_scaler_range(parser: argparse.ArgumentParser) -> None:
    """Declare --scaler_range, the answer to a question that some published checkpoints leave open."""
    parser.add_argument(
        "--scaler_range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="of a published checkpoint that does not tell: 0 1 if trained before 27 April 2024, else -1 1",
    )


def scaler_range_of(arguments: argparse.Namespace) -> tuple[float, float] | None:
    """The range of --scaler_range; None when the flag was not given, OptionsError for what is no range."""
    if arguments.scaler_range is None:
        return None
    low, high = arguments.scaler_range
    if not low < high:
        raise OptionsError(f"--scaler_range {low:g} {high:g}: the second number must be the larger; write 0 1 or -1 1")
    return low, high


def whole_number(at_least: int, at_most: int | None = None) -> Callable[[str], int]:
    """An argparse type that says what it takes."""

    def read(text: str) -> int:
        number = int(text) if text.strip().lstrip("-").isdecimal() else None
        if number is None or number < at_least or (at_most is not None and number > at_most):
            limit = f"at least {at_least}" if at_most is None else f"from {at_least} to {at_most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limit}")
        return number

    return read


def _respelt(word: str, declared: Mapping[str, str]) -> str:
    flag, equals, value = word.partition("=")
    return declared.get(_hyphenated(flag), flag) + equals + value if word.startswith("--") else word


def _hyphenated(flag: str) -> str:
    return flag.replace("_", "-")


def show(text: str) -> None:
    """Print a result on standard output; what a recipe says of its progress goes to the log, on standard error."""
    print(text, flush=True)


def run_recipe(main: Callable[[Sequence[str]], int | None]) -> None:
    """Run `main` on the command line's arguments and leave with its exit code; 2 and one sentence on refused input."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        code = main(sys.argv[1:]) or 0
        sys.stdout.flush()
    except RunStoppedError as stop:
        print(stop, file=sys.stderr)
        code = stop.exit_code
    except DesedTaskError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); without this the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except OSError as error:
        if error.filename is None and error.errno not in _NO_ROOM:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        remedy = "make room" if error.errno in _NO_ROOM else "name another place"
        print(f"error: {where}{error.strerror}; {remedy}", file=sys.stderr)
        code = 2
    sys.exit(code)
