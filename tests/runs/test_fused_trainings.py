"""Trainings with embedders: killed, resumed without the files that they began from, tested, in two processes."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from fused_systems import AST, CNN14, CNN14_32K, fused_tree, write_weights
from same_training import assert_same_training, logged
from tagger_checkpoints import write_tagger
from torchrun_training import torchrun
from training_process import Brakes, training
from training_scenes import write_scenes

from desed_task.training.checkpointing import progress_of, read_checkpoint
from recipes.train_sed import main

PARTS = {"train": 16, "weak": 8, "unlabeled": 8, "validation": 2, "test": 2}
STEPS = 4
TRAINING = {"n_epochs": 3, "n_epochs_warmup": 1, "num_threads": 1, "learning_rate": 0.01}
OFTEN = ["--set", "training.checkpoint_minutes=0.0001"]
WAYS = {"a": "aligned", "b": "pool1d"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with scenes/ and the weights of a Cnn14, a.pt, and of an AST, b.pt; stores are made in it."""
    folder = tmp_path_factory.mktemp("fused")
    write_scenes(folder / "scenes", PARTS)
    write_weights(folder / "a.pt", CNN14)
    write_weights(folder / "b.pt", AST)
    return folder


def write_conf(scenes: Path, path: Path, embedders: dict[str, Any], **sections: Any) -> list[str]:
    """A conf that trains on the scenes; the beginning of a command line."""

    def corpus(part: str) -> dict[str, str]:
        return {"name": "soundscapes", "root": str(scenes / "scenes"), "part": part}

    train = [("train", "strong", 4), ("weak", "weak", 2), ("unlabeled", "none", 2)]
    data = {
        "store": str(scenes / "store"),
        "clip_seconds": 2.0,
        "overlap_frames": 4,
        "train": [{"corpus": corpus(part), "supervision": known, "batch_size": n} for part, known, n in train],
        "validation": [{"corpus": corpus("validation")}],
        "test": {"corpus": corpus("test")},
    }
    ways = {name: WAYS[name] for name in embedders}
    tree = fused_tree(embedders, ways, data=data, training=TRAINING, **sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return ["--conf_file", str(path), "--device", "cpu", *OFTEN]


def both(folder: Path, mode: str) -> dict[str, Any]:
    """A Cnn14 and an AST, with weights in `folder`."""
    a = {**CNN14, "mode": mode, "learning_rate": 1e-3, "weights": str(folder / "a.pt")}
    return {"a": a, "b": {**AST, "mode": mode, "learning_rate": 1e-4, "weights": str(folder / "b.pt")}}


def resume(run: Path, *more: str) -> int:
    # Event files are read in the order of their names, which begin with the second of their start.
    begun = max((int(path.name.split(".")[3]) for path in run.glob("events.out.tfevents.*")), default=0)
    while time.time() < begun + 1:
        time.sleep(0.05)
    return main(["--resume_from_checkpoint", str(run), "--log_dir", str(run.parent), "--device", "cpu", *more])


def killed_in_step(start: list[str], step: int, folder: Path) -> Path:
    """The run folder of a training that was killed."""
    run = folder / "exp" / "version_0"
    with training([*start, "--log_dir", str(run.parent)], folder / "log", Brakes(step=0.1)) as running:
        running.wait_for("step", step)
        running.process.kill()
        assert running.end() == -signal.SIGKILL
    progress = progress_of(read_checkpoint(run / "last.ckpt"), run)
    assert 0 < progress.epoch * STEPS + progress.step < 3 * STEPS
    return run


MIXED = {"accumulate_batches": 2, "gradient_clip": 0.1, "precision": "bf16-mixed"}


@pytest.mark.slow
@pytest.mark.parametrize("course", [{}, MIXED], ids=["plain", "mixed"])
def test_killed_and_resumed_without_the_embedders_files_it_ends_with_the_same_bits(
    scenes: Path, tmp_path: Path, course: dict[str, Any]
) -> None:
    own = tmp_path / "weights"
    own.mkdir()
    for name in ("a.pt", "b.pt"):
        shutil.copy(scenes / name, own)
    start = write_conf(scenes, tmp_path / "conf.yaml", both(own, "learning"))
    start += [word for key, value in course.items() for word in ("--set", f"training.{key}={value}")]
    assert main([*start, "--log_dir", str(tmp_path / "whole")]) == 0
    run = killed_in_step(start, 7, tmp_path)
    shutil.rmtree(own)
    assert resume(run) == 0
    whole = tmp_path / "whole" / "version_0"
    assert_same_training(whole, run)
    checkpoint = read_checkpoint(run / "last.ckpt")
    for model in ("sed_student", "sed_teacher"):
        assert {key.split(".")[0] for key in checkpoint[model]} == {"detector", "embedders"}
    (optimizer,) = checkpoint["optimizer_states"]
    rates = {group["name"]: group["initial_lr"] for group in optimizer["param_groups"]}
    assert rates == {"detector": 0.01, "embedders.a": 1e-3, "embedders.b": 1e-4}
    curves = logged(run)
    assert [value for _, value in curves["train/lr/embedders.a"]] == pytest.approx(
        [0.1 * value for _, value in curves["train/lr/detector"]]
    )
    assert main(["--test_from_checkpoint", str(run), "--log_dir", str(tmp_path / "tested"), "--device", "cpu"]) == 0


def test_weights_have_learned(scenes: Path, tmp_path: Path) -> None:
    start = write_conf(scenes, tmp_path / "conf.yaml", both(scenes, "learning"))
    assert main([*start, "--set", "training.n_epochs=1", "--log_dir", str(tmp_path / "exp")]) == 0
    student = read_checkpoint(tmp_path / "exp" / "version_0" / "last.ckpt")["sed_student"]
    for name in ("a", "b"):
        begun = torch.load(scenes / f"{name}.pt", weights_only=True)
        place = f"embedders.{name}.network."
        own = {key.removeprefix(place): values for key, values in student.items() if key.startswith(place)}
        moved = [key for key, values in own.items() if not torch.equal(values, begun[key])]
        assert len(moved) > 0.8 * len(own)


@pytest.mark.slow
def test_a_frozen_one_goes_on_where_its_weights_lie_now(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "weights"
    own.mkdir()
    shutil.copy(scenes / "a.pt", own)
    embedder = {**CNN14, "weights": str(own / "a.pt")}
    start = write_conf(scenes, tmp_path / "conf.yaml", {"a": embedder})
    assert main([*start, "--log_dir", str(tmp_path / "whole")]) == 0
    run = killed_in_step(start, 6, tmp_path)
    shutil.move(own / "a.pt", own / "moved.pt")
    with pytest.raises(Exception, match="are not there"):
        resume(run)
    write_weights(own / "a.pt", CNN14, seed=9)
    with pytest.raises(Exception, match="or the detector was trained with"):
        resume(run)
    assert resume(run, "--set", f"embedders.a.weights={own / 'moved.pt'}") == 0
    found = torch.load(run / "last.ckpt", weights_only=True)["sed_student"]
    expected = torch.load(tmp_path / "whole" / "version_0" / "last.ckpt", weights_only=True)["sed_student"]
    assert all(torch.equal(found[key], values) for key, values in expected.items())


@pytest.mark.slow
def test_a_tagger_that_learns_is_resumed_without_its_checkpoint(scenes: Path, tmp_path: Path) -> None:
    """The run folder's conf says its network itself."""
    tagger = write_tagger("cnn14", tmp_path / "tagger.ckpt")
    embedder = {"name": "tagger", "checkpoint": str(tagger), "mode": "learning"}
    start = write_conf(scenes, tmp_path / "conf.yaml", {"a": embedder})
    assert main([*start, "--log_dir", str(tmp_path / "whole")]) == 0
    run = killed_in_step(start, 6, tmp_path)
    tagger.unlink()
    assert resume(run) == 0
    assert_same_training(tmp_path / "whole" / "version_0", run)


@pytest.mark.slow
def test_seeds_go_on_where_they_were(scenes: Path, tmp_path: Path) -> None:
    """The same command finds the runs that it began: a tagger's conf and what their folders store are one."""
    tagger = write_tagger("cnn14", tmp_path / "tagger.ckpt")
    start = write_conf(scenes, tmp_path / "conf.yaml", {"a": {"name": "tagger", "checkpoint": str(tagger)}})
    series = [*start, "--seeds", "2", "--set", "training.n_epochs=1", "--log_dir", str(tmp_path / "exp")]
    assert main(series) == 0
    assert main(series) == 0
    assert sorted(path.name for path in (tmp_path / "exp").glob("version_*")) == ["version_0", "version_1"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["learning", "frozen"])
def test_two_processes_train_what_one_trains(scenes: Path, tmp_path: Path, mode: str) -> None:
    """Whatever of a network has no gradient would end a training of several processes."""
    no_chance = {"model": {"name": "cnn14", "width": 0.02, "dropout": 0.0, "block_dropout": 0.0}}
    embedders = both(scenes, mode)
    embedders["a"] |= no_chance
    start = write_conf(scenes, tmp_path / "conf.yaml", embedders, augmentations=[])
    start += ["--set", "model.dropout=0.0"]
    with torchrun([*start, "--log_dir", str(tmp_path / "two")], tmp_path / "torchrun") as running:
        assert running.end() == 0, running.said()
    assert main([*start, "--log_dir", str(tmp_path / "one")]) == 0
    one, two = tmp_path / "one" / "version_0", tmp_path / "two" / "version_0"
    of_one, of_two = logged(one), logged(two)
    curves = [name for name in of_one if name.startswith(("train/", "val/"))]
    assert {"train/loss", "val/objective"} <= set(curves)
    for name in curves:
        values = [value for _, value in of_one[name]]
        assert [value for _, value in of_two[name]] == pytest.approx(values, rel=1e-4, abs=1e-4), name
    weights, others = (read_checkpoint(run / "last.ckpt")["sed_student"] for run in (one, two))
    assert weights.keys() == others.keys()
    for name, values in weights.items():
        # Batch norm takes such biases out again; their gradients are rounding, of which Adam makes steps.
        if ("conv" in name and name.endswith("bias")) or name.endswith("running_mean"):
            continue
        torch.testing.assert_close(others[name], values, rtol=1e-3, atol=2e-4, msg=name)


@pytest.mark.slow
def test_an_embedder_of_another_rate_trains(scenes: Path, tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "a.pt", CNN14_32K)
    start = write_conf(
        scenes, tmp_path / "conf.yaml", {"a": {**CNN14_32K, "mode": "learning", "weights": str(weights)}}
    )
    assert main([*start, "--fast_dev_run", "--log_dir", str(tmp_path / "exp")]) == 0
