"""The export recipe as a user runs it: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import hashlib
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from desed_task.audio.reading import write_waveform
from desed_task.bundle import MODEL_FILE, read_bundle
from desed_task.detector import Detector
from desed_task.errors import AudioError, BundleError, CheckpointError
from recipes.export_onnx import main


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(0)
    write_waveform(folder / "one.wav", 0.1 * rng.normal(size=24_000).astype(np.float32), 8_000)
    write_waveform(folder / "below" / "two.flac", 0.1 * rng.normal(size=300_000).astype(np.float32), 16_000)
    (folder / "notes.wav.txt").write_text("no recording")
    return folder


def test_it_writes_a_bundle_and_prints_what_it_measured(
    small_checkpoint: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "deep" / "bundle"
    arguments = ["--checkpoint", str(small_checkpoint), "--output", str(output), "--audio", str(recordings)]
    assert main([*arguments, "--id", "hum and hiss", "--version", "2.1"]) == 0
    bundle = read_bundle(output)
    assert (bundle.model_id, bundle.version, list(bundle.labels)) == ("hum and hiss", "2.1", ["hum", "hiss"])
    assert bundle.postprocessing.threshold == {"hum": 0.5, "hiss": 0.4}
    provenance = bundle.provenance
    assert provenance["model"] == "student"
    assert provenance["checkpoint"]["sha256"] == hashlib.sha256(small_checkpoint.read_bytes()).hexdigest()
    assert provenance["options"]["features"]["scaler_range"] == [0.0, 1.0]
    assert provenance["parity"]["cases"]["recordings"]["shapes"] == [[2, 160_000], [1, 160_000]]
    printed = capsys.readouterr().out
    size = (output / MODEL_FILE).stat().st_size / 1e6
    assert f"hum and hiss 2.1, {size:.2f} MB" in printed
    assert "largest difference from torch: " in printed
    assert "3 x 80000, 2 x 37777, 1 x 600, 5 x 16000 samples" in printed


def test_student_and_teacher_are_different_bundles(small_checkpoint: Path, tmp_path: Path) -> None:
    waveform = 0.05 * np.random.default_rng(0).normal(size=80_000).astype(np.float32)
    scores = {}
    for model in ("student", "teacher"):
        output = tmp_path / model
        main(["--checkpoint", str(small_checkpoint), "--output", str(output), "--model", model])
        assert read_bundle(output).model_id == model
        scores[model] = Detector(output, device="cpu", num_threads=1).scores(waveform).clip_values
    assert np.abs(scores["student"] - scores["teacher"]).max() > 1e-3


def test_an_older_bundle_is_replaced_and_anything_else_is_not(small_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ["--checkpoint", str(small_checkpoint), "--output", str(tmp_path / "bundle")]
    main(arguments)
    main([*arguments, "--version", "2"])
    assert read_bundle(tmp_path / "bundle").version == "2"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("dear")
    with pytest.raises(BundleError, match="is not a bundle"):
        main([*arguments[:3], str(tmp_path / "mine")])
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_checkpoint_without_the_model_asked_for_is_refused(small_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(small_checkpoint, weights_only=True)
    del checkpoint["sed_teacher"]
    torch.save(checkpoint, tmp_path / "supervised.ckpt")
    arguments = ["--checkpoint", str(tmp_path / "supervised.ckpt"), "--output", str(tmp_path / "bundle")]
    with pytest.raises(CheckpointError, match="holds no teacher, only student; choose another --model"):
        main([*arguments, "--model", "teacher"])
    assert not (tmp_path / "bundle").exists()
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("name", "message"), [("absent", "no recordings|no such audio file"), ("empty", "no recordings in this folder")]
)
def test_audio_that_is_not_there_is_refused(small_checkpoint: Path, tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    arguments = ["--checkpoint", str(small_checkpoint), "--output", str(tmp_path / "bundle")]
    with pytest.raises(AudioError, match=message):
        main([*arguments, "--audio", str(tmp_path / name)])
    assert not (tmp_path / "bundle").exists()


def test_a_file_that_is_no_checkpoint_is_one_sentence_and_exit_code_2(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.ckpt").write_text("not weights")
    recipe = str(project / "recipes" / "export_onnx.py")
    flags = ["--checkpoint", str(tmp_path / "notes.ckpt"), "--output", str(tmp_path / "bundle")]
    monkeypatch.setattr(sys, "argv", [recipe, *flags])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(recipe, run_name="__main__")
    message = capsys.readouterr().err
    assert message.startswith(f"error: {tmp_path / 'notes.ckpt'}: not a readable checkpoint")
    assert message.count("\n") == 1
    assert not (tmp_path / "bundle").exists()
