"""docs/performance.md: its commands parse, its options exist, its rows are those of the benchmark."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import training
from desed_task.experiment import SedOptions
from desed_task.options import read_options
from desed_task.runs import command
from desed_task.training.throughput import CLIPS_PER_SECOND, FILE, KWH_PER_1000_STEPS
from recipes import train_sed


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs" / "performance.md").read_text(encoding="utf-8")


def commands(page: str) -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_parses(page: str, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(command, "train", lambda options, *_: asked.append(options))
    monkeypatch.setattr(training, "rows_of", lambda name, arguments: asked.append(name) or [])
    monkeypatch.setattr(training, "write_rows", lambda rows, path: None)
    monkeypatch.chdir(project)
    mains = {"recipes/train_sed.py": train_sed.main, "benchmarks/training.py": training.main}
    for python, script, *argv in commands(page):
        assert python == "python"
        before = len(asked)
        beside = ["--log_dir", str(tmp_path / "exp"), "--device", "cpu"] if script.startswith("recipes") else []
        assert mains[script]([*argv, *beside]) == 0
        assert len(asked) > before, argv
    assert len(commands(page)) >= 5


def test_every_option_exists(page: str, project: Path) -> None:
    options = read_options(project / "confs/sed/crnn.yaml", SedOptions)
    named = re.findall(r"^\| `([a-z_.]+)` \|", page, flags=re.MULTILINE)
    assert len(named) >= 6
    for name in named:
        section, key = name.split(".")
        assert key in type(getattr(options, section)).model_fields, name


def test_rows_files_and_figures_are_those_of_the_code(page: str) -> None:
    rows = re.findall(r"^\| `([a-z ]+)`:? ?", page.partition("## Results")[2], flags=re.MULTILINE)
    assert {row for row in rows if row != "schedule energy"} == set(training.PARTS)
    for word in (CLIPS_PER_SECOND, KWH_PER_1000_STEPS, FILE):
        assert f"`{word}`" in page


def test_links_lead_somewhere(page: str, project: Path) -> None:
    links: Sequence[str] = re.findall(r"\]\(([a-z_]+\.md)\)", page)
    assert links
    assert all((project / "docs" / link).is_file() for link in links)
