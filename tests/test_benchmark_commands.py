"""Every benchmark that can be started says in its docstring how, and starts so."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
# A peer's process answers on its standard input; nobody starts it by hand.
STARTED = sorted(
    path
    for path in (PROJECT / "benchmarks").glob("*.py")
    if "__main__" in (text := path.read_text("utf-8")) and ("Parser(" in text or path.stem == "evaluation")
)


def commands_of(path: Path) -> list[str]:
    """`python benchmarks/x.py` or `python -m benchmarks.x`, as the docstring has it, without flags."""
    told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return re.findall(rf"^ *python (benchmarks/{path.name}|-m benchmarks\.{path.stem})(?= |$)", told, re.MULTILINE)


@pytest.mark.parametrize("path", STARTED, ids=lambda path: path.stem)
def test_a_benchmark_says_how_it_is_started(path: Path) -> None:
    assert commands_of(path), f"{path.name}: no command in its docstring"


@pytest.mark.slow
@pytest.mark.parametrize("path", STARTED, ids=lambda path: path.stem)
def test_a_benchmark_starts_as_it_says(path: Path) -> None:
    for command in set(commands_of(path)):
        started = subprocess.run(
            [sys.executable, *shlex.split(command), "--help"],
            check=False,
            capture_output=True,
            text=True,
            cwd=PROJECT,
            timeout=300,
        )
        assert started.returncode == 0, started.stderr
        assert "usage" in started.stdout
