"""The pages on taggers: their commands parse, their keys exist, their links lead somewhere, their code runs."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from desed_task.batch import Inputs
from desed_task.models.tagger import InputShape
from desed_task.options import read_options
from desed_task.runs import tagging_command
from desed_task.soundscapes.conf import SoundscapesOptions
from desed_task.tagging import TaggingOptions
from recipes import pack_lmdb
from serving.tag import arguments as tag_arguments

PAGES = ("taggers", "fsd50k", "gise51", "psla", "audioset", "own_data", "slurm")
COUNTS = {"taggers": 11, "fsd50k": 9, "gise51": 20, "psla": 18, "audioset": 22, "own_data": 5}
SECTIONS = "labels|features|model|augmentations|data|training"
MINE = "mine.yaml"


@pytest.fixture(scope="module")
def pages(project: Path) -> dict[str, str]:
    return {name: (project / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES}


@pytest.fixture
def folder(tmp_path: Path, project: Path, pages: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with confs, and the conf of the page on your own data."""
    (tmp_path / "confs").symlink_to(project / "confs")
    text = re.findall(r"```yaml\n(.*?)```", pages["own_data"], flags=re.DOTALL)[0]
    (tmp_path / MINE).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(page: str) -> Iterator[list[str]]:
    for block in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def parsed(words: list[str]) -> Any:
    """The arguments of a command line; SystemExit or OptionsError when it would be refused."""
    if words[:2] == ["desed-task", "tag"]:
        return tag_arguments.parser().parse_args(words[2:])
    python, script, *argv = words
    assert python == "python"
    assert script.startswith("recipes/")
    if script == "recipes/train_tagging.py":
        return tagging_command._read_command(argv, Path("exp/tagging"))
    if script == "recipes/pack_lmdb.py":
        return pack_lmdb._read_command(argv)
    return importlib.import_module(script.removesuffix(".py").replace("/", "."))._parser().parse_args(argv)


@pytest.mark.parametrize("name", COUNTS)
def test_every_command_parses_and_its_conf_takes_its_keys(name: str, pages: Mapping[str, str], folder: Path) -> None:
    lines = list(commands(pages[name]))
    assert len(lines) >= COUNTS[name]
    for words in lines:
        arguments = parsed(words)
        conf = getattr(arguments, "conf_file", None)
        if words[1] == "recipes/generate_soundscapes.py":
            read_options(conf, SoundscapesOptions, arguments.set)
        elif words[1] == "recipes/pack_lmdb.py":
            assert conf is None or conf.is_file()
        elif conf is not None:
            overrides = arguments.set if words[1] == "recipes/train_tagging.py" else []
            options = read_options(conf, TaggingOptions, overrides)
            assert getattr(arguments, "on", None) in {None, *options.data.evaluation}, words


def keys_of(tree: Any, above: tuple[str, ...] = ()) -> Iterator[str]:
    """Every key of a conf, as --set writes it, sections too."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield ".".join((*above, str(key)))
        yield from keys_of(value, (*above, str(key)))


def test_every_key_that_a_page_names_is_one_of_some_conf(pages: Mapping[str, str], project: Path) -> None:
    known = {
        key
        for conf in (project / "confs" / "tagging").glob("*.yaml")
        for key in keys_of(read_options(conf, TaggingOptions).model_dump(mode="json"))
    }
    named = {
        (name, key)
        for name, page in pages.items()
        for key in re.findall(rf"`((?:{SECTIONS})\.[a-z_0-9]+(?:\.[a-z_0-9]+)*)(?::[^`]*)?`", page)
    }
    assert len(named) > 60
    assert not {pair for pair in named if pair[1] not in known}


def test_every_conf_that_a_page_names_is_there_and_every_conf_is_named(pages: Mapping[str, str], project: Path) -> None:
    text = "\n".join(pages.values())
    named = set(re.findall(r"confs/[a-z_0-9/]+\.yaml", text))
    assert named
    assert not {conf for conf in named if not (project / conf).is_file()}
    published = {path.name for path in (project / "confs" / "tagging").glob("*_*.yaml")}
    assert {conf.rpartition("/")[2] for conf in named} >= {
        conf for conf in published if conf.startswith(("fsd50k", "gise51", "psla", "audioset", "esc50"))
    }


def test_the_conf_of_your_own_data_is_one_for_few_clips(folder: Path) -> None:
    # Warm-up and masks of AudioSet's trainings leave nothing to learn of a few hundred clips of 64 bands.
    options = read_options(folder / MINE, TaggingOptions)
    masks = [augmentation for augmentation in options.augmentations if augmentation.name == "spec_augment"]
    assert options.training.warmup is None
    assert masks
    assert all(mask.max_bands <= options.features.num_bands / 4 and mask.fill != "zero" for mask in masks)


def test_links_lead_somewhere(pages: Mapping[str, str], project: Path) -> None:
    for page in pages.values():
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page)
        assert all((project / "docs" / link).is_file() for link in links)


def test_every_page_is_linked_from_the_overview(pages: Mapping[str, str]) -> None:
    assert {f"{name}.md" for name in PAGES} - {"taggers.md"} <= set(
        re.findall(r"\(([a-z0-9_]+\.md)\)", pages["taggers"])
    )


def test_the_model_of_the_page_on_your_own_runs(
    pages: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = re.findall(r"```python\n(.*?)```", pages["own_data"], flags=re.DOTALL)[0]
    (tmp_path / "model_of_the_page.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("model_of_the_page")
    options = module.MineOptions(width=8)
    options.require_fit(InputShape(101, 16))
    predictions = module.Mine(options, InputShape(101, 16), 3)(Inputs(torch.zeros(2, 101, 16)))
    assert predictions.strong_logits.shape == (2, 25, 3)
    assert predictions.weak_logits.shape == (2, 3)


# The script for a cluster, with stand-ins: torchrun works until it is asked to stop, scontrol writes down its words.
TORCHRUN = """#!/bin/bash
echo "$@" > asked
trap 'sleep 0.3; touch saved; exit 1' TERM
touch started
if [ -n "$SHORT" ]; then exit "$SHORT"; fi
while true; do sleep 0.05; done
"""


@pytest.fixture
def cluster(tmp_path: Path, pages: Mapping[str, str]) -> Path:
    (tmp_path / "job.sh").write_text(re.findall(r"```sbatch\n(.*?)```", pages["slurm"], flags=re.DOTALL)[0])
    (tmp_path / "bin").mkdir()
    for name, text in (("torchrun", TORCHRUN), ("scontrol", '#!/bin/bash\necho "$@" > queued\n')):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def start(cluster: Path, short: str = "") -> subprocess.Popen[bytes]:
    path = f"{cluster / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "SLURM_JOB_ID": "7", "SHORT": short}
    return subprocess.Popen(["bash", "job.sh"], cwd=cluster, env=environment)


def test_a_job_that_runs_out_of_time_saves_and_queues_itself_again(cluster: Path) -> None:
    job = start(cluster)
    for _ in range(200):
        if (cluster / "started").is_file():
            break
        time.sleep(0.05)
    time.sleep(0.1)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=20) == 0
    assert (cluster / "saved").is_file()
    assert (cluster / "queued").read_text() == "requeue 7\n"
    assert "--conf_file confs/tagging/psla_fsd50k.yaml -e exp/psla" in (cluster / "asked").read_text()


@pytest.mark.parametrize("code", ["0", "2"])
def test_a_job_that_ends_of_itself_is_not_queued_again_and_the_next_goes_on(cluster: Path, code: str) -> None:
    (cluster / "exp" / "psla" / "version_0").mkdir(parents=True)
    (cluster / "exp" / "psla" / "version_0" / "last.ckpt").touch()
    assert start(cluster, code).wait(timeout=20) == int(code)
    assert not (cluster / "queued").exists()
    assert "--resume_from exp/psla/version_0" in (cluster / "asked").read_text()
