"""Real processes that are killed, stopped by signals or run out of disk in a training, and resumed.

Every stretch but the last is a process of its own; the last runs here, and must end with what an uninterrupted training
ended with: weights of student and teacher, optimiser, best checkpoint, early stopping, figures and learning rates.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from same_training import assert_same_training
from training_process import Brakes, training
from training_scenes import write_scenes

from desed_task.errors import DesedTaskError
from desed_task.training.checkpointing import Progress, progress_of, read_checkpoint
from recipes.train_sed import main

# Twelve steps per epoch; a checkpoint about every second step.
PARTS = {"train": 24, "weak": 12, "unlabeled": 12, "validation": 3, "test": 2}
STEPS, EPOCHS = 12, 2
CONF = """
labels: [hum, hiss]
features: {name: logmel, n_window: 512, hop_length: 256, n_mels: 16}
model: {nb_filters: [4, 8], pooling: [[2, 4], [2, 4]], dropout: 0.1, n_rnn_cell: 8, rnn_layers: 1}
data:
  store: ${here}/store
  clip_seconds: 2.0
  overlap_frames: 4
  train:
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: train}, supervision: strong, batch_size: 2}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: weak}, supervision: weak, batch_size: 1}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: unlabeled}, supervision: none, batch_size: 1}
  validation: [{corpus: {name: soundscapes, root: "${here}/scenes", part: weak}, supervision: weak}]
  test: {corpus: {name: soundscapes, root: "${here}/scenes", part: test}}
training: {n_epochs: 2, n_epochs_warmup: 1, num_threads: 1, learning_rate: 0.01, checkpoint_minutes: 0.001}
"""
SLOW_STEPS = Brakes(step=0.03)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an uninterrupted training; its conf and scenes lie two folders above."""
    folder = tmp_path_factory.mktemp("whole")
    write_scenes(folder / "scenes", PARTS)
    (folder / "conf.yaml").write_text(CONF, encoding="utf-8")
    assert main([*arguments_of(folder), "--log_dir", str(folder / "exp")]) == 0
    return folder / "exp" / "version_0"


def arguments_of(folder: Path) -> list[str]:
    return ["--conf_file", str(folder / "conf.yaml"), "--device", "cpu"]


@pytest.fixture
def start(whole: Path, tmp_path: Path) -> list[str]:
    """The command line of the same training in this test's folder."""
    return [*arguments_of(whole.parent.parent), "--log_dir", str(tmp_path / "exp")]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "exp" / "version_0"


def resume(run: Path) -> None:
    # Event files are read in the order of their names: start second, host, process. Nobody else resumes that soon.
    begun = max((int(path.name.split(".")[3]) for path in run.glob("events.out.tfevents.*")), default=0)
    while time.time() < begun + 1:
        time.sleep(0.05)
    assert main(["--resume_from_checkpoint", str(run), "--log_dir", str(run.parent), "--device", "cpu"]) == 0
    assert [path.name for path in run.parent.glob("version_*")] == ["version_0"]


def place_of(run: Path) -> Progress:
    return progress_of(read_checkpoint(run / "last.ckpt"), run)


def draw_steps() -> list[int]:
    """Three steps of the training, others every time; pytest prints them with the names of the tests."""
    return sorted(random.SystemRandom().sample(range(3, EPOCHS * STEPS), 3))


@pytest.mark.parametrize("kill", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_killed_at_any_step_a_training_ends_as_if_it_never_was(
    start: list[str], whole: Path, run: Path, tmp_path: Path, kill: int
) -> None:
    step = draw_steps()[kill]
    print(f"killed in step {step}")
    with training(start, tmp_path / "log", SLOW_STEPS) as running:
        running.wait_for("step", step)
        running.process.kill()
        assert running.end() == -signal.SIGKILL
    place = place_of(run)
    assert place.epoch * STEPS + place.step < step
    resume(run)
    assert_same_training(whole, run)


@pytest.mark.slow
def test_so_it_is_with_accumulated_batches_and_early_stopping(start: list[str], run: Path, tmp_path: Path) -> None:
    keys = ("accumulate_batches=2", "early_stop_patience=1", "n_epochs=9", "learning_rate=1e-9")
    options = [word for key in keys for word in ("--set", f"training.{key}")]
    assert main([*start, *options, "--log_dir", str(tmp_path / "whole")]) == 0
    stopped = place_of(tmp_path / "whole" / "version_0")
    assert stopped.stopped_early
    assert stopped.epoch < 9
    step = draw_steps()[1]
    print(f"killed in step {step}")
    with training([*start, *options], tmp_path / "log", SLOW_STEPS) as running:
        running.wait_for("step", step)
        running.process.kill()
        running.end()
    resume(run)
    assert_same_training(tmp_path / "whole" / "version_0", run)


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written_the_one_before_is_whole(
    start: list[str], whole: Path, run: Path, tmp_path: Path
) -> None:
    with training(start, tmp_path / "log", Brakes(step=0.03, saving=0.05)) as running:
        running.wait_for("saving", 7)  # twice each, its file and its folder: the fourth has begun
        running.process.kill()
        running.end()
    assert list(run.glob("*.partial"))
    assert place_of(run).step > 0
    resume(run)
    assert_same_training(whole, run)
    assert not list(run.glob("*.partial"))


@pytest.mark.slow
def test_killed_in_a_validation_it_is_made_again(start: list[str], whole: Path, run: Path, tmp_path: Path) -> None:
    with training(start, tmp_path / "log", Brakes(validation=1.0)) as running:
        running.wait_for("validation", 2)
        running.process.kill()
        running.end()
    assert place_of(run).epoch == 1
    resume(run)
    assert_same_training(whole, run)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_finishes_the_step_and_says_how_to_go_on(
    start: list[str], whole: Path, run: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    ten_minutes = ["--set", "training.checkpoint_minutes=10"]
    with training([*start, *ten_minutes], tmp_path / "log", SLOW_STEPS) as running:
        running.wait_for("step", 5)
        running.process.terminate() if number is signal.SIGTERM else _send(running.pid, number)
        assert running.end() == code
        said = running.log.read_text()
        made = running.steps.read_text().split("\n").count("step")
    assert place_of(run).step == made
    assert f"stopped by {number.name} after epoch 1, step {made}; go on with --resume_from_checkpoint {run}" in said
    assert "Traceback" not in said
    assert float((run / "training_codecarbon" / "training_tot_kwh.txt").read_text()) > 0
    resume(run)
    assert_same_weights(whole, run)


@pytest.mark.slow
def test_a_signal_in_a_validation_ends_it_and_keeps_the_steps(
    start: list[str], whole: Path, run: Path, tmp_path: Path
) -> None:
    with training(start, tmp_path / "log", Brakes(validation=60.0)) as running:
        running.wait_for("validation")
        asked = time.monotonic()
        _send(running.pid, signal.SIGINT)
        assert running.end() == 130
        assert time.monotonic() - asked < 30
    place = place_of(run)
    assert (place.epoch, place.step, place.awaits_validation) == (0, STEPS, True)
    resume(run)
    assert_same_training(whole, run)


@pytest.mark.slow
def test_a_second_signal_ends_at_once(start: list[str], run: Path, tmp_path: Path) -> None:
    with training(start, tmp_path / "log", Brakes(step=60.0)) as running:
        running.wait_for("step")
        _send(running.pid, signal.SIGINT)
        time.sleep(0.2)
        assert running.process.is_alive()
        _send(running.pid, signal.SIGINT)
        assert running.end() == -signal.SIGINT


def test_a_full_disk_ends_in_one_sentence_and_the_checkpoint_before_goes_on(
    start: list[str], whole: Path, run: Path, tmp_path: Path
) -> None:
    with training(start, tmp_path / "log", Brakes(step=0.03, largest_file=20_000)) as running:
        assert running.end() == 2
        lines = running.log.read_text().strip().split("\n")
    assert f"{run}/last.ckpt: the checkpoint cannot be written (File too large)" in lines[-1]
    assert "Traceback" not in "".join(lines)
    assert place_of(run).step > 0
    resume(run)
    assert_same_training(whole, run)


@pytest.mark.slow
def test_kwh_of_a_killed_stretch_count(start: list[str], run: Path, tmp_path: Path) -> None:
    with training(start, tmp_path / "log", SLOW_STEPS) as running:
        running.wait_for("step", 2 * STEPS)
        running.process.kill()
        running.end()
    energy = run / "training_codecarbon"
    (killed,) = json.loads((energy / "stretches.json").read_text())
    assert killed["kwh"] > 0
    assert float((energy / "training_tot_kwh.txt").read_text()) == pytest.approx(killed["kwh"], rel=1e-6)
    resume(run)
    stretches = json.loads((energy / "stretches.json").read_text())
    assert stretches[0] == killed
    total = float((energy / "training_tot_kwh.txt").read_text())
    assert total == pytest.approx(sum(stretch["kwh"] for stretch in stretches), rel=1e-6)
    assert len((energy / "emissions.csv").read_text().strip().split("\n")) == 3
    published = run.parent / "training_codecarbon"
    for name in ("training_tot_kwh.txt", "emissions.csv"):
        assert (published / name).read_text() == (energy / name).read_text()
    report = json.loads((run / "metrics_test" / "student" / "report.json").read_text())
    assert report["energy_kwh_training"] == pytest.approx(total, rel=1e-6)


def test_a_folder_in_which_a_training_runs_is_left_alone(start: list[str], run: Path, tmp_path: Path) -> None:
    with training(start, tmp_path / "log", SLOW_STEPS) as running:
        running.wait_for("saved")
        with pytest.raises(DesedTaskError, match="version_0: a training is running in there; wait for it or end it"):
            resume(run)


def test_a_finished_training_is_not_trained_or_tested_again(whole: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    report = whole / "metrics_test" / "student" / "report.json"
    before = report.stat().st_mtime_ns
    resume(whole)
    assert "the training has finished after 2 epochs and was tested" in caplog.text
    assert report.stat().st_mtime_ns == before


def assert_same_weights(one: Path, other: Path) -> None:
    """Where the options differ by the minutes between checkpoints."""
    first, second = read_checkpoint(one / "last.ckpt"), read_checkpoint(other / "last.ckpt")
    for model in ("sed_student", "sed_teacher"):
        assert all(torch.equal(first[model][name], second[model][name]) for name in first[model])


def _send(pid: int, number: signal.Signals) -> None:
    os.kill(pid, number)
