"""Every verb that takes a checkpoint takes a published one, on a machine that has none of its data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from published_shapes import heard_weights, lightning_checkpoint, small_tree, write_conf

from desed_task.audio.reading import write_waveform
from desed_task.bundle import read_bundle
from desed_task.errors import CheckpointError, DesedTaskError, OptionsError
from desed_task.events import Event, EventTable
from desed_task.formats.dcase import write_durations, write_strong, write_weak
from recipes import evaluate, export_onnx, train_sed

pytestmark = pytest.mark.usefixtures("one_thread")

RATE, SECONDS = 16_000, 3.0


def waveform(number: int) -> Any:
    return (0.1 * np.random.default_rng(number).normal(size=int(SECONDS * RATE))).astype(np.float32)


def save(tree: dict[str, Any], path: Path) -> Path:
    heard = torch.from_numpy(np.stack([waveform(number) for number in range(2)]))
    torch.save(lightning_checkpoint(tree, heard_weights(tree, heard)[1], "1.5.1"), path)
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tree = small_tree(2022)
    tree["data"] = {key: str(value).replace("../..", "/nowhere") for key, value in tree["data"].items()}
    tree["data"] |= {"audio_max_len": 10, "fs": 16000, "net_subsample": 4}
    return save(tree, tmp_path / "published.ckpt")


@pytest.fixture
def undated(tmp_path: Path) -> Path:
    tree = small_tree(2022)
    tree["data"] = {"audio_max_len": 10, "fs": 16000, "net_subsample": 4}
    return save(tree, tmp_path / "undated.ckpt")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three clips with one event each, in the layout of generated soundscapes: <root>/test."""
    folder = tmp_path / "scenes" / "test"
    (folder / "audio").mkdir(parents=True)
    for number in range(3):
        write_waveform(folder / "audio" / f"{number}.wav", waveform(number), RATE)
    events = {f"{number}.wav": [Event(0.5, 1.5, "Dog")] for number in range(3)}
    write_strong(EventTable(events), folder / "soundscapes.tsv")
    write_durations(dict.fromkeys(events, SECONDS), folder / "durations.tsv")
    return folder


def evaluation(checkpoint: Path, clips: Path, *more: str) -> list[str]:
    truth, output = str(clips / "soundscapes.tsv"), str(checkpoint.parent / "report")
    fixed = ["--audio_dir", str(clips / "audio"), "--ground_truth", truth, "--output_dir", output, "--device", "cpu"]
    return ["--checkpoint", str(checkpoint), *fixed, *more]


def test_evaluate_scores_a_published_checkpoint(checkpoint: Path, clips: Path) -> None:
    assert evaluate.main(evaluation(checkpoint, clips)) == 0
    assert (checkpoint.parent / "report" / "report.json").is_file()


def test_evaluate_asks_and_takes_the_answer(undated: Path, clips: Path) -> None:
    with pytest.raises(CheckpointError, match="before or after 27 April 2024"):
        evaluate.main(evaluation(undated, clips))
    assert evaluate.main(evaluation(undated, clips, "--scaler-range", "-1", "1")) == 0
    with pytest.raises(OptionsError, match="the second number must be the larger"):
        evaluate.main(evaluation(undated, clips, "--scaler_range", "1", "0"))


def test_scaler_range_beside_a_bundle_or_a_training_is_refused(tmp_path: Path, clips: Path) -> None:
    arguments = [*evaluation(tmp_path / "x", clips), "--scaler_range", "0", "1"]
    with pytest.raises(DesedTaskError, match="a bundle knows its own"):
        evaluate.main(["--bundle" if word == "--checkpoint" else word for word in arguments])
    with pytest.raises(OptionsError, match=r"a training has --set features\.scaler_range"):
        train_sed.main(["--scaler_range", "0", "1", "--log_dir", str(tmp_path / "exp")])


def test_export_makes_a_bundle_with_the_published_range(undated: Path, tmp_path: Path) -> None:
    arguments = ["--checkpoint", str(undated), "--output", str(tmp_path / "bundle"), "--scaler_range", "-1", "1"]
    assert export_onnx.main(arguments) == 0
    options = read_bundle(tmp_path / "bundle").provenance["options"]
    assert options["features"]["scaler_range"] == [-1.0, 1.0]


def test_a_published_checkpoint_is_tested_on_data_that_is_named_beside_it(
    checkpoint: Path, clips: Path, tmp_path: Path
) -> None:
    corpus = f"{{name: soundscapes, root: '{clips.parent}', part: test}}"
    beside = ["--log_dir", str(tmp_path / "exp"), "--device", "cpu", "--set", f"data.test.corpus={corpus}"]
    assert train_sed.main(["--test_from_checkpoint", str(checkpoint), *beside]) == 0
    for model in ("student", "teacher"):
        report = json.loads((tmp_path / "exp" / "version_0" / "metrics_test" / model / "report.json").read_text())
        assert report["files_present"] == 3


def test_without_other_data_the_checkpoints_own_is_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["--test_from_checkpoint", str(checkpoint), "--log_dir", str(tmp_path / "exp"), "--device", "cpu"]
    with pytest.raises(
        DesedTaskError, match=r"/nowhere/data/dcase/dataset/metadata/validation/validation\.tsv: not there"
    ):
        train_sed.main(arguments)
    assert not (tmp_path / "exp").exists()


def test_a_published_recipe_trains_and_its_conf_names_the_test_data(checkpoint: Path, tmp_path: Path) -> None:
    """The 2023 layout on disk, the conf as published beside it: fast development run, then a published checkpoint."""
    conf = write_conf(small_tree(2023), tmp_path / "recipes" / "dcase2023")
    write_desed(tmp_path / "data" / "dcase" / "dataset")
    fixed = ["--conf_file", str(conf), "--device", "cpu"]
    sizes = "data.train.{}.batch_size=2"
    few = [word for source in range(3) for word in ("--set", sizes.format(source))]
    assert train_sed.main([*fixed, *few, "--fast_dev_run", "--log_dir", str(tmp_path / "exp")]) == 0
    resolved = (tmp_path / "exp" / "version_0" / "conf.yaml").read_text()
    assert "follows: before_step" in resolved
    assert "evaluation_length: clip" in resolved

    arguments = ["--test_from_checkpoint", str(checkpoint), "--log_dir", str(tmp_path / "tested"), *fixed]
    assert train_sed.main(arguments) == 0
    report = (tmp_path / "tested" / "version_0" / "metrics_test" / "student" / "report.json").read_text()
    assert json.loads(report)["files_present"] == 3


def write_desed(root: Path) -> None:
    """Twenty short clips or fewer per part, synthetic ones below dcase_synth, originals without the _16k copies."""
    synthetic = root / "dcase_synth"
    places = {
        "train": (synthetic, "audio/train/synthetic21_train/soundscapes", "train/synthetic21_train/soundscapes.tsv", 4),
        "val": (
            *(synthetic, "audio/validation/synthetic21_validation/soundscapes"),
            *("validation/synthetic21_validation/soundscapes.tsv", 3),
        ),
        "test": (root, "audio/validation/validation", "validation/validation.tsv", 3),
        "weak": (root, "audio/train/weak", "train/weak.tsv", 20),
        "unlabeled": (root, "audio/train/unlabel_in_domain", "train/unlabel_in_domain.tsv", 4),
    }
    for part, (base, folder, table, count) in places.items():
        names = [f"{part}_{number}.wav" for number in range(count)]
        (base / folder).mkdir(parents=True)
        path = base / "metadata" / table
        path.parent.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(names):
            write_waveform(base / folder / name, waveform(number), RATE)
        if part == "weak":
            write_weak({name: ("Dog", "Speech")[: 1 + number % 2] for number, name in enumerate(names)}, path)
        elif part == "unlabeled":
            path.write_text("\n".join(["filename", *names]) + "\n")
        else:
            write_strong(EventTable({name: [Event(0.5, 1.5, "Dog")] for name in names}), path)
