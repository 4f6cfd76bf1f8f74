"""What takes a detector's checkpoint takes one that listens to embeddings, of recordings that nobody extracted."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from fused_systems import AST, CNN14, fused_options, write_checkpoint, write_weights
from training_scenes import write_scenes

from desed_task.errors import CheckpointError
from desed_task.formats.clip_scores import read_clip_scores
from desed_task.formats.dcase import read_strong, write_strong
from recipes import average_weights, ensemble, evaluate, export_onnx

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes with truth.tsv, and checkpoints that differ in how the same AST is heard: frozen.ckpt, stored.ckpt ..."""
    folder = tmp_path_factory.mktemp("fused")
    write_scenes(folder / "scenes", {"test": 6})
    write_strong(read_strong(folder / "scenes" / "test" / "soundscapes.tsv"), folder / "truth.tsv")
    weights = {"a": write_weights(folder / "a.pt", CNN14), "b": write_weights(folder / "b.pt", AST)}
    for mode in ("frozen", "stored", "learning"):
        a = {**CNN14, "weights": str(weights["a"])}
        b = {**AST, "weights": str(weights["b"]), "mode": mode, "store": str(folder / "nothing")}
        options = fused_options({"a": a, "b": b}, {"a": "aligned", "b": "aligned"})
        write_checkpoint(options, folder / f"{mode}.ckpt")
    return folder


def evaluated(folder: Path, output: Path, *system: str) -> dict[str, object]:
    flags = ["--audio_dir", str(folder / "scenes" / "test" / "audio"), "--ground_truth", str(folder / "truth.tsv")]
    assert evaluate.main([*system, *flags, "--output_dir", str(output), "--device", "cpu"]) == 0
    report: dict[str, object] = json.loads((output / "report.json").read_text())
    return report


def tags_of(output: Path) -> list[tuple[str, str, float]]:
    with (output / "tags.tsv").open(newline="", encoding="utf-8") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        return sorted((row["filename"], row["event_label"], float(row["score"])) for row in rows)


def test_a_checkpoint_is_evaluated_however_it_hears_and_as_its_bundle(folder: Path, tmp_path: Path) -> None:
    export_onnx.main(["--checkpoint", str(folder / "frozen.ckpt"), "--output", str(tmp_path / "bundle")])
    systems = {mode: ("--checkpoint", str(folder / f"{mode}.ckpt")) for mode in ("frozen", "stored", "learning")}
    systems["bundle"] = ("--bundle", str(tmp_path / "bundle"))
    reports = {name: evaluated(folder, tmp_path / name, *system) for name, system in systems.items()}
    for name, report in reports.items():
        assert (report["files_present"], report["files_expected"]) == (6, 6)
        assert report["psds1"] == pytest.approx(reports["frozen"]["psds1"], abs=1e-3), name
    scores = {name: [score for *_, score in tags_of(tmp_path / name)] for name in systems}
    assert np.ptp(scores["frozen"]) > 0.05
    assert scores["stored"] == scores["frozen"]
    np.testing.assert_allclose(scores["learning"], scores["frozen"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(scores["bundle"], scores["frozen"], rtol=0, atol=1e-4)


def test_clips_that_were_not_extracted_need_the_network(folder: Path, tmp_path: Path) -> None:
    hidden = folder / "b.pt"
    aside = hidden.rename(folder / "aside.pt")
    try:
        with pytest.raises(CheckpointError, match=r"b\.pt: the weights of an embedder are not there"):
            evaluated(folder, tmp_path / "out", "--checkpoint", str(folder / "stored.ckpt"))
    finally:
        aside.rename(hidden)


def test_it_is_one_of_an_ensemble(folder: Path, tmp_path: Path) -> None:
    checkpoints = [str(folder / f"{mode}.ckpt") for mode in ("frozen", "stored")]
    audio = ["--audio_dir", str(folder / "scenes" / "test" / "audio"), "--device", "cpu"]
    assert ensemble.main(["--checkpoint", *checkpoints, *audio, "--output_dir", str(tmp_path / "mean")]) == 0
    evaluated(folder, tmp_path / "one", "--checkpoint", checkpoints[0])
    mean = read_clip_scores(tmp_path / "mean" / "scores.npz")
    both = {(audio_id, label): row[column] for audio_id, row in zip(mean.audio_ids, mean.probs, strict=True)
            for column, label in enumerate(mean.labels)}  # fmt: skip
    for filename, label, score in tags_of(tmp_path / "one"):
        assert both[filename.removesuffix(".wav"), label] == pytest.approx(score, abs=1e-5)


def test_averages_are_of_systems_with_the_same_embedders(folder: Path, tmp_path: Path) -> None:
    paths = [str(folder / "learning.ckpt"), str(folder / "learning.ckpt")]
    assert average_weights.main(["--checkpoints", *paths, "--output", str(tmp_path / "mean.ckpt")]) == 0
    expected = evaluated(folder, tmp_path / "one", "--checkpoint", paths[0])
    assert evaluated(folder, tmp_path / "mean", "--checkpoint", str(tmp_path / "mean.ckpt"))["psds1"] == pytest.approx(
        expected["psds1"], abs=1e-6
    )
    other = [str(folder / "frozen.ckpt"), str(folder / "stored.ckpt")]
    with pytest.raises(CheckpointError, match="its embedders are not those of"):
        average_weights.main(["--checkpoints", *other, "--output", str(tmp_path / "other.ckpt")])
