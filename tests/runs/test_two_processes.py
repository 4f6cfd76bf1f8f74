"""Two processes under torchrun train what one trains, end together, and go on exactly where they were killed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from same_training import assert_same_training, logged
from torchrun_training import torchrun
from training_scenes import write_scenes

from desed_task.batch import Inputs
from desed_task.experiment import load_system
from desed_task.training.checkpointing import progress_of, read_checkpoint
from recipes.train_sed import main

PARTS = {"train": 16, "weak": 8, "unlabeled": 8, "validation": 3, "test": 2}
STEPS, EPOCHS = 4, 3
CONF = """
labels: [hum, hiss]
features: {name: logmel, n_window: 512, hop_length: 256, n_mels: 16}
model: {nb_filters: [4, 8], pooling: [[2, 4], [2, 4]], dropout: 0.0, n_rnn_cell: 8, rnn_layers: 1}
augmentations: []
data:
  store: ${here}/store
  clip_seconds: 2.0
  overlap_frames: 4
  train:
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: train}, supervision: strong, batch_size: 4}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: weak}, supervision: weak, batch_size: 2}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: unlabeled}, supervision: none, batch_size: 2}
  validation:
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: validation}}
    - {corpus: {name: soundscapes, root: "${here}/scenes", part: weak}, supervision: weak}
  test: {corpus: {name: soundscapes, root: "${here}/scenes", part: test}}
training: {n_epochs: 3, n_epochs_warmup: 1, num_threads: 1, learning_rate: 0.01}
"""
RANDOM = ["--set", "model.dropout=0.3", "--set", "augmentations=[{name: mixup, probability: 1.0}]"]
OFTEN = ["--set", "training.checkpoint_minutes=0.0001"]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line of every training here."""
    folder = tmp_path_factory.mktemp("two_processes")
    write_scenes(folder / "scenes", PARTS)
    (folder / "conf.yaml").write_text(CONF, encoding="utf-8")
    return ["--conf_file", str(folder / "conf.yaml"), "--device", "cpu"]


@pytest.fixture(scope="module")
def both(start: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Run folders of the same training in two processes, which pack the audio, and then in one."""
    return train_both(start, tmp_path_factory.mktemp("both"))


def train_both(start: list[str], folder: Path) -> tuple[Path, Path]:
    with torchrun([*start, "--log_dir", str(folder / "two")], folder / "torchrun") as running:
        assert running.end() == 0, running.said()
        assert running.codes() == [0, 0]
    assert main([*start, "--log_dir", str(folder / "one")]) == 0
    return folder / "one" / "version_0", folder / "two" / "version_0"


def assert_equal_curves(one: Path, two: Path) -> None:
    """Losses, rates and figures by step."""
    of_one, of_two = logged(one), logged(two)
    curves = [name for name in of_one if name.startswith(("train/", "val/"))]
    assert {"train/loss", "train/student/loss_strong", "train/lr", "val/objective"} <= set(curves)
    for name in curves:
        assert [step for step, _ in of_one[name]] == [step for step, _ in of_two[name]]
        values = [value for _, value in of_one[name]]
        assert [value for _, value in of_two[name]] == pytest.approx(values, rel=1e-5, abs=1e-5), name


def assert_equal_models(one: Path, two: Path) -> None:
    """What student and teacher say, and their weights but for the biases of the convolutions.

    Batch norm takes those out again, so their gradients are rounding, of which Adam makes steps as of any other. The
    running means follow them, hence batch statistics (training mode, no dropout) where the models are compared.
    """
    of_one, of_two = read_checkpoint(one / "last.ckpt"), read_checkpoint(two / "last.ckpt")
    mel = torch.randn(4, 125, 16, generator=torch.Generator().manual_seed(0))
    systems = [load_system(folder / "last.ckpt") for folder in (one, two)]
    for model in ("student", "teacher"):
        with torch.no_grad():
            heard = [system.models[model].train()(Inputs(mel)) for system in systems]
        torch.testing.assert_close(heard[1].strong_logits, heard[0].strong_logits, rtol=1e-4, atol=2e-5)
        weights = of_one[f"sed_{model}"]
        assert weights.keys() == of_two[f"sed_{model}"].keys()
        for name, values in weights.items():
            if ("conv" in name and name.endswith("bias")) or name.endswith("running_mean"):
                continue
            torch.testing.assert_close(of_two[f"sed_{model}"][name], values, rtol=1e-4, atol=5e-5, msg=name)


def test_two_processes_have_the_curve_and_the_models_of_one(both: tuple[Path, Path]) -> None:
    one, two = both
    assert_equal_curves(one, two)
    assert_equal_models(one, two)


def test_one_process_writes_and_speaks(both: tuple[Path, Path]) -> None:
    one, two = both
    assert [path.name for path in two.parent.glob("version_*")] == ["version_0"]
    assert len(list(two.glob("events.out.tfevents.*"))) == 1
    files = {path.relative_to(one) for path in one.rglob("*") if "tfevents" not in path.name}
    assert files == {path.relative_to(two) for path in two.rglob("*") if "tfevents" not in path.name}
    assert read_checkpoint(two / "last.ckpt")["ranks"] == 2
    log = (two.parent.parent / "torchrun" / "log").read_text()
    assert log.count("epoch 1 of 3: ") == log.count("run folder: ") == log.count("| student |") == 1
    assert len((two / "training_codecarbon" / "emissions.csv").read_text().strip().split("\n")) == 2


def refused(argv: list[str], folder: Path, **brakes: Any) -> str:
    """What was said by a training that must end with exit code 2 in both processes, without a traceback."""
    with torchrun(argv, folder, **brakes) as running:
        assert running.end() != 0
        said = running.said()
        assert running.codes() == [2, 2], said
    assert "Traceback" not in said
    assert said.count("error: ") == 1
    return said


@pytest.mark.slow
def test_clips_that_cannot_be_shared_are_refused_in_one_sentence(start: list[str], tmp_path: Path) -> None:
    odd = ["--set", "data.train.1.batch_size=1", "--log_dir", str(tmp_path / "exp")]
    said = refused([*start, *odd], tmp_path / "torchrun")
    assert (
        "error: data.train.1: its 1 clips per batch cannot be shared evenly by 2 processes; make batch_size a multiple "
        "of 2"
    ) in said
    assert not (tmp_path / "exp").exists()


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--no_such_flag", "--gpus=1", "--device=cuda:1"])
def test_a_bad_command_line_is_refused_once(start: list[str], tmp_path: Path, flag: str) -> None:
    assert flag.partition("=")[0] in refused([*start[:2], flag], tmp_path / "torchrun")


@pytest.mark.slow
def test_so_it_is_with_accumulated_and_clipped_gradients(start: list[str], tmp_path: Path) -> None:
    options = [word for key in ("accumulate_batches=2", "gradient_clip=0.1") for word in ("--set", f"training.{key}")]
    one, two = train_both([*start, *options], tmp_path)
    assert_equal_curves(one, two)
    assert_equal_models(one, two)


@pytest.fixture(scope="module")
def whole(start: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an uninterrupted training of two processes with dropout and mixup."""
    folder = tmp_path_factory.mktemp("whole")
    with torchrun([*start, *RANDOM, *OFTEN, "--log_dir", str(folder / "exp")], folder / "torchrun") as running:
        assert running.end() == 0, running.said()
    return folder / "exp" / "version_0"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_training_which_then_goes_on_bit_for_bit(
    start: list[str], whole: Path, tmp_path: Path, rank: int
) -> None:
    run = tmp_path / "exp" / "version_0"
    killed = [*start, *RANDOM, *OFTEN, "--log_dir", str(run.parent)]
    with torchrun(killed, tmp_path / "killed", step_seconds=0.1) as running:
        running.wait_for_step(7)
        running.send(signal.SIGKILL, rank)
        assert running.end() != 0
        said = running.said()
        assert running.codes()[1 - rank] == 2, said
        assert said.count("error: another process of this training was ended; resume it from its run folder") == 1
        assert "Traceback" not in said
    assert 0 < place_of(run) < 7
    resume = ["--resume_from_checkpoint", str(run), "--device", "cpu"]
    with torchrun(resume, tmp_path / "resumed") as running:
        assert running.end() == 0, running.said()
    assert_same_training(whole, run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to"), [(signal.SIGTERM, "torchrun"), (signal.SIGINT, "torchrun"), (signal.SIGTERM, "rank 1")]
)
def test_a_signal_stops_both_after_the_same_step(
    start: list[str], tmp_path: Path, number: signal.Signals, to: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "exp" / "version_0"
    with torchrun([*start, "--log_dir", str(run.parent)], tmp_path / "stopped", step_seconds=0.1) as running:
        running.wait_for_step(6)
        running.process.send_signal(number) if to == "torchrun" else running.send(number, 1)
        running.end()
        said = running.said()
        assert running.codes() == [128 + number, 128 + number], said
        made = running.steps()
    assert made[0] == made[1] == place_of(run)
    log = (tmp_path / "stopped" / "log").read_text()
    assert log.count(f"stopped by {number.name} after epoch 2, step {made[0] - STEPS}; go on with") == 1
    if to == "torchrun":
        return
    assert main(["--resume_from_checkpoint", str(run), "--device", "cpu"]) == 0
    assert "was trained in 2 processes and goes on in 1" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_what_only_one_rank_hears_ends_both_with_its_sentence(start: list[str], tmp_path: Path, rank: int) -> None:
    said = refused([*start, "--log_dir", str(tmp_path / "exp")], tmp_path / "torchrun", nan=f"{rank}:6")
    assert "training diverged at step 5: the waveform of " in said


def place_of(run: Path) -> int:
    """Steps that the newest checkpoint has made."""
    progress = progress_of(read_checkpoint(run / "last.ckpt"), run)
    return progress.epoch * STEPS + progress.step
