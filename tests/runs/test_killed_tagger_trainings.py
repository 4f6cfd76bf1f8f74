"""Trainings of taggers that are killed, stopped or lengthened end as if nothing had happened, results included.

The conf has what remembers (a plateau schedule, weight averaging, an ensemble) and what draws (balanced sampling,
waveform mixup, augmentations, dropout).
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from same_training import assert_same_training, differences
from tagging_clips import CONF, write_tagging
from training_process import Brakes, training

from desed_task.errors import CheckpointError, RunStoppedError
from desed_task.formats.clip_scores import read_clip_scores
from desed_task.runs import tagging
from desed_task.training.checkpointing import Progress, progress_of, read_checkpoint
from recipes import average_weights, evaluate
from recipes.train_tagging import main

PARTS = {"train": 24, "validation": 6, "eval": 6}
STEPS, EPOCHS = 6, 3
SLOW_STEPS = Brakes(step=0.03)
OFTEN = ["--set", "training.checkpoint_minutes=0.001"]
AUGMENTATIONS = """
augmentations:
  - {name: mixup, domain: normalised, probability: 0.5}
  - {name: spec_augment, domain: normalised, probability: 0.5, max_bands: 2, max_frames: 4}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of conf and recordings."""
    folder = tmp_path_factory.mktemp("data")
    write_tagging(folder, PARTS, CONF + AUGMENTATIONS)
    return folder


def start_in(data: Path, exp: Path) -> list[str]:
    return ["--conf_file", str(data / "conf.yaml"), "--device", "cpu", "-e", str(exp)]


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an uninterrupted training."""
    exp = tmp_path_factory.mktemp("whole")
    assert main([*start_in(data, exp), *OFTEN]) == 0
    return exp / "version_0"


@pytest.fixture
def start(data: Path, tmp_path: Path) -> list[str]:
    return start_in(data, tmp_path / "exp")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "exp" / "version_0"


def resume(run: Path, *more: str) -> None:
    # Event files are read in the order of their names: start second, host, process. Nobody else resumes that soon.
    begun = max((int(path.name.split(".")[3]) for path in run.glob("events.out.tfevents.*")), default=0)
    while time.time() < begun + 1:
        time.sleep(0.05)
    assert main(["--resume_from", str(run), "-e", str(run.parent), "--device", "cpu", *more]) == 0
    assert [path.name for path in run.parent.glob("version_*")] == ["version_0"]


def place_of(run: Path) -> Progress:
    return progress_of(read_checkpoint(run / "last.ckpt"), run)


def results_of(run: Path) -> dict[str, object]:
    """All that a run wrote about its systems, without where it lies."""
    with (run / "results.csv").open(newline="") as stream:
        rows: list[object] = [[*row[:4], Path(row[4]).name] for row in csv.reader(stream)]
    written: dict[str, object] = {"results.csv": rows}
    for path in [*run.glob("*_result.csv"), *run.glob("metrics_test/*/*/per_class.csv")]:
        written[str(path.relative_to(run))] = path.read_text()
    for path in run.glob("metrics_test/*/*/scores.npz"):
        written[str(path.relative_to(run))] = read_clip_scores(path).probs.tolist()
    return written


def assert_same_run(whole: Path, run: Path) -> None:
    """Checkpoints, log and results, to the last bit."""
    assert_same_training(whole, run)
    assert results_of(whole) == results_of(run)
    assert len(results_of(run)) == 1 + 3 + 2 * 6  # best, averaged and ensemble, on two sets


def draw_steps() -> list[int]:
    """Three steps of the training, others every time; pytest prints them with the names of the tests."""
    return sorted(random.SystemRandom().sample(range(3, EPOCHS * STEPS), 3))


@pytest.mark.slow
@pytest.mark.parametrize("kill", [0, 1, 2])
def test_killed_at_any_step_a_tagger_ends_as_if_it_never_was(
    start: list[str], whole: Path, run: Path, tmp_path: Path, kill: int
) -> None:
    step = draw_steps()[kill]
    print(f"killed in step {step}")
    with training([*start, *OFTEN], tmp_path / "log", SLOW_STEPS, "train_tagging") as running:
        running.wait_for("step", step)
        running.process.kill()
        assert running.end() == -signal.SIGKILL
    place = place_of(run)
    assert place.epoch * STEPS + place.step < step
    resume(run)
    assert_same_run(whole, run)


@pytest.mark.slow
def test_killed_twice_and_in_a_validation(start: list[str], whole: Path, run: Path, tmp_path: Path) -> None:
    with training([*start, *OFTEN], tmp_path / "log", Brakes(validation=1.0), "train_tagging") as running:
        running.wait_for("validation", 2)
        running.process.kill()
        running.end()
    assert place_of(run).epoch == 1
    again = ["--resume_from", str(run), "-e", str(run.parent), "--device", "cpu"]
    with training(again, tmp_path / "again", SLOW_STEPS, "train_tagging") as running:
        running.wait_for("step", 3)
        running.process.kill()
        running.end()
    resume(run)
    assert_same_run(whole, run)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_step_and_says_how_to_go_on(
    start: list[str], whole: Path, run: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with training(start, tmp_path / "log", SLOW_STEPS, "train_tagging") as running:
        running.wait_for("step", STEPS + 2)
        assert running.pid is not None
        os.kill(running.pid, number)
        assert running.end() == code
        said = running.log.read_text()
        made = running.steps.read_text().split("\n").count("step")
    assert STEPS + place_of(run).step == made
    assert f"stopped by {number.name} after epoch 2, step {made - STEPS}; go on with --resume_from" in said
    assert "Traceback" not in said
    resume(run)
    first, second = read_checkpoint(whole / "last.ckpt"), read_checkpoint(run / "last.ckpt")
    for part in ("model", "optimizer_states", "schedule", "weight_average", "ensembles"):
        assert differences(first[part], second[part]) == []
    assert results_of(whole) == results_of(run)


def test_a_finished_training_that_was_not_tested_is_tested(whole: Path, run: Path) -> None:
    shutil.copytree(whole, run)
    for left in ("metrics_test", "results.csv", "averaged.ckpt"):
        path = run / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    resume(run)
    assert results_of(whole) == results_of(run)
    assert differences(read_checkpoint(whole / "averaged.ckpt"), read_checkpoint(run / "averaged.ckpt")) == []
    before = (run / "results.csv").stat().st_mtime_ns
    resume(run)
    assert (run / "results.csv").stat().st_mtime_ns == before


def test_a_lengthened_training_that_was_killed_before_its_test_is_tested(
    data: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    assert main([*start_in(data, run.parent), "--epochs", "2"]) == 0
    shorter = results_of(run)["results.csv"]
    with monkeypatch.context() as patched:
        patched.setattr(tagging, "test_taggers", ended)
        with pytest.raises(RunStoppedError, match="stopped in the test"):
            resume(run, "--epochs", "3")
    resume(run)
    assert results_of(run)["results.csv"] != shorter


def test_a_finished_checkpoint_from_elsewhere_says_what_tests_a_tagger(whole: Path, tmp_path: Path) -> None:
    shutil.copy(whole / "last.ckpt", tmp_path / "mine.ckpt")
    with pytest.raises(CheckpointError, match=r"test it with recipes/evaluate\.py --checkpoint, or lengthen it"):
        main(["--resume_from", str(tmp_path / "mine.ckpt"), "-e", str(tmp_path), "--device", "cpu"])


@pytest.fixture(scope="module")
def epochs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """last.ckpt after one, two and three epochs of a training that is lengthened twice; its run folder beside them."""
    folder = tmp_path_factory.mktemp("epochs")
    run = folder / "exp" / "version_0"
    every = ["--set", "training.weight_averaging.first_epoch=1", "--epochs", "1"]
    assert main([*start_in(data, run.parent), *every]) == 0
    copies = []
    for epoch in (1, 2, 3):
        if epoch > 1:
            resume(run, "--epochs", str(epoch))
        copies.append(folder / f"epoch={epoch}.ckpt")
        shutil.copy2(run / "last.ckpt", copies[-1])
    return copies


def test_a_lengthened_training_is_that_of_the_length(whole: Path, epochs: list[Path]) -> None:
    long, whole_checkpoint = read_checkpoint(epochs[-1]), read_checkpoint(whole / "last.ckpt")
    for part in ("model", "optimizer_states", "schedule", "ensembles"):
        assert differences(long[part], whole_checkpoint[part]) == []


def test_averaged_weights_are_what_the_recipe_makes_of_the_epochs(epochs: list[Path], tmp_path: Path) -> None:
    run = epochs[0].parent / "exp" / "version_0"
    average_weights.main(["--checkpoints", *map(str, epochs), "--output", str(tmp_path / "mean.ckpt")])
    found, expected = read_checkpoint(run / "averaged.ckpt"), read_checkpoint(tmp_path / "mean.ckpt")
    assert differences(found["model"], expected["model"]) == []
    assert differences(found["desed_task"]["options"]["model"], expected["desed_task"]["options"]["model"]) == []


def test_the_published_average_is_what_the_recipe_makes_of_them(data: Path, epochs: list[Path], tmp_path: Path) -> None:
    keys = ["--set", "training.weight_averaging={mode: published, first_epoch: 1}"]
    assert main([*start_in(data, tmp_path / "exp"), *keys]) == 0
    files = ["--checkpoints", *map(str, epochs)]
    average_weights.main([*files, "--mode", "published", "--output", str(tmp_path / "wa.ckpt")])
    found = read_checkpoint(tmp_path / "exp" / "version_0" / "averaged.ckpt")
    assert differences(found["model"], read_checkpoint(tmp_path / "wa.ckpt")["model"]) == []


def test_an_ensemble_is_the_mean_of_what_the_epochs_say(data: Path, epochs: list[Path], tmp_path: Path) -> None:
    said = []
    for epoch in epochs:
        output = tmp_path / epoch.stem
        flags = ["--conf_file", str(data / "conf.yaml"), "--on", "eval", "--device", "cpu"]
        assert evaluate.main(["--checkpoint", str(epoch), *flags, "--output_dir", str(output)]) == 0
        said.append(read_clip_scores(output / "scores.npz"))
    run = epochs[0].parent / "exp" / "version_0"
    found = read_clip_scores(run / "metrics_test" / "ensemble" / "eval" / "scores.npz")
    assert found.audio_ids == said[0].audio_ids
    np.testing.assert_allclose(found.probs, np.mean([one.probs for one in said], axis=0), atol=1e-6)
    assert np.abs(said[0].probs - said[2].probs).max() > 1e-3
