"""What every recipe shares: flags that accept - and _ alike, one sentence and exit code 2 for refused input."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from desed_task.errors import DesedTaskError


class RecipeParser(argparse.ArgumentParser):
    """argparse whose flags may be spelt with - or _ (`--conf-file`, `--conf_file`), never abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.ArgumentDefaultsHelpFormatter, **options
        )

    def add_argument(self, *flags: str, **options: Any) -> argparse.Action:  # type: ignore[override]
        both = [spelling for flag in flags for spelling in dict.fromkeys((flag, _hyphenated(flag)))]
        return super().add_argument(*both, **options)


def _hyphenated(flag: str) -> str:
    return "--" + flag[2:].replace("_", "-") if flag.startswith("--") else flag


def run_recipe(main: Callable[[Sequence[str]], int | None]) -> None:
    """Run `main` on the command line's arguments and leave with its exit code; 2 and one sentence on refused input."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        code = main(sys.argv[1:]) or 0
    except DesedTaskError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        code = 141
    sys.exit(code)
