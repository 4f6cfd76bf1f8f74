"""The command line: which device is meant, and flags that would be ignored."""

from __future__ import annotations

from pathlib import Path

import pytest

from desed_task.errors import OptionsError
from desed_task.runs.command import _device_name, run_training


@pytest.mark.parametrize(
    ("device", "gpus", "expected"),
    [
        (None, None, "auto"),
        ("cuda:1", None, "cuda:1"),
        (None, "0", "cpu"),
        (None, "1", "cuda:0"),
        ("auto", "0", "cpu"),
        ("cpu", "0", "cpu"),
        ("cuda:1", "1", "cuda:1"),
    ],
)
def test_gpus_and_device_agree(device: str | None, gpus: str | None, expected: str) -> None:
    assert _device_name(device, gpus) == expected


@pytest.mark.parametrize(("device", "gpus"), [("cuda:0", "0"), ("cpu", "1")])
def test_gpus_and_device_contradict(device: str, gpus: str) -> None:
    with pytest.raises(OptionsError, match=f"--gpus {gpus} contradicts --device {device}"):
        _device_name(device, gpus)


@pytest.mark.parametrize("gpus", ["2", "0,1", "all", ""])
def test_other_numbers_of_gpus_are_refused(gpus: str) -> None:
    with pytest.raises(OptionsError, match=r"write 0 \(the CPU\) or 1"):
        _device_name(None, gpus)


@pytest.mark.parametrize("idle", [["--conf_file", "c.yaml"], ["--fast_dev_run"]])
def test_a_resumed_training_takes_no_other_conf(idle: list[str], tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=f"{idle[0]} does nothing beside --resume_from_checkpoint"):
        run_training(["--resume_from_checkpoint", "x.ckpt", *idle], tmp_path / "conf.yaml", tmp_path / "exp", "")


@pytest.mark.parametrize("course", ["--test_from_checkpoint", "--eval_from_checkpoint", "--resume_from_checkpoint"])
@pytest.mark.parametrize("idle", [["--strong_real"], ["--seeds", "3"]])
def test_a_flag_that_would_be_ignored_is_refused(course: str, idle: list[str], tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match=f"{idle[0]} does nothing beside {course}"):
        run_training([course, "x.ckpt", *idle, "--device", "cpu"], tmp_path / "conf.yaml", tmp_path / "exp", "")


def test_two_courses_at_once_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--test_from_checkpoint", "a.ckpt", "--eval_from_checkpoint", "a.ckpt"]
    with pytest.raises(SystemExit) as ended:
        run_training(argv, tmp_path / "conf.yaml", tmp_path / "exp", "")
    assert ended.value.code == 2
    assert "not allowed with argument" in capsys.readouterr().err
