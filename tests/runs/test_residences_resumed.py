"""A training that is killed with its clips in one place and goes on with them in another ends as if it never was."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import torch
from training_process import Brakes, training
from training_scenes import write_training

from desed_task.training.checkpointing import read_checkpoint
from recipes.train_sed import main

OFTEN = ["--set", "training.checkpoint_minutes=0.0001", "--set", "training.learning_rate=0.01"]
STEPS, EPOCHS = 4, 2


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_training(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def whole(conf: Path) -> Path:
    """The run folder of an uninterrupted training."""
    before = torch.get_num_threads()
    assert main([*command(conf, conf.parent / "exp"), "--set", "data.residence=mapped"]) == 0
    torch.set_num_threads(before)
    return conf.parent / "exp" / "version_0"


def command(conf: Path, log_dir: Path) -> list[str]:
    return ["--conf_file", str(conf), "--device", "cpu", "--log_dir", str(log_dir), *OFTEN]


@pytest.mark.parametrize(
    ("began", "went_on"), [("resident", "mapped"), pytest.param("mapped", "resident", marks=pytest.mark.slow)]
)
def test_killed_in_one_residence_and_resumed_in_another_gives_the_same_bits(
    conf: Path, whole: Path, tmp_path: Path, began: str, went_on: str
) -> None:
    start = [*command(conf, tmp_path / "exp"), "--set", f"data.residence={began}"]
    with training(start, tmp_path / "log", Brakes(step=0.05)) as running:
        running.wait_for("step", STEPS + 2)
        running.process.kill()
        assert running.end() == -signal.SIGKILL
    run = tmp_path / "exp" / "version_0"
    killed = read_checkpoint(run / "last.ckpt")
    assert 0 < killed["global_step"] < STEPS * EPOCHS
    assert killed["desed_task"]["options"]["data"]["residence"] == began
    time.sleep(1.0)  # event files are named by the second
    before = torch.get_num_threads()
    go_on = ["--resume_from_checkpoint", str(run), "--set", f"data.residence={went_on}", "--device", "cpu"]
    assert main([*go_on, "--log_dir", str(run.parent)]) == 0
    torch.set_num_threads(before)
    ended, expected = read_checkpoint(run / "last.ckpt"), read_checkpoint(whole / "last.ckpt")
    assert ended["global_step"] == STEPS * EPOCHS
    for model in ("sed_student", "sed_teacher"):
        assert expected[model].keys() == ended[model].keys()
        assert all(torch.equal(expected[model][name], ended[model][name]) for name in expected[model])
