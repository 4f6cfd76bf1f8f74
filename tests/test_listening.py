"""Listeners: one interface to bundles and checkpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from desed_task.errors import BundleError, CheckpointError, OptionsError
from desed_task.listening import open_bundle, open_checkpoint


def test_a_bundle_listens_without_the_packages_of_training(tiny_bundle: Path, project: Path) -> None:
    code = (
        "import sys, pathlib, numpy; from desed_task.listening import open_bundle\n"
        f"listener = open_bundle(pathlib.Path({str(tiny_bundle)!r}), 'cpu')\n"
        "print(*listener.scores([('a', numpy.zeros(16000, 'float32'))])['a'].clip_values.shape, *sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    classes, *loaded = ran.stdout.split()
    assert classes == "2"
    assert not {"torch", "pytorch_lightning", "codecarbon"} & set(loaded)


def test_recordings_of_any_length_are_heard(tiny_bundle: Path) -> None:
    listener = open_bundle(tiny_bundle, "cpu")
    lengths = {"short": 600, "long": 400_000}
    scores = listener.scores((name, np.zeros(samples, dtype=np.float32)) for name, samples in lengths.items())
    assert {name: clip.duration for name, clip in scores.items()} == {"short": 0.0375, "long": 25.0}
    assert (listener.name, listener.sample_rate) == ("tiny", 16_000)


def test_the_student_listens_unless_another_is_named(small_checkpoint: Path) -> None:
    assert open_checkpoint(small_checkpoint, device="cpu").name == "student"
    assert open_checkpoint(small_checkpoint, "teacher", "cpu").name == "teacher"


def test_what_cannot_be_opened_is_refused(small_checkpoint: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        open_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(OptionsError, match="write auto, cpu or cuda:N"):
        open_checkpoint(small_checkpoint, device="abacus")
    with pytest.raises(BundleError, match="no such bundle folder"):
        open_bundle(tmp_path / "none")
    with pytest.raises(OptionsError, match="not auto, cpu or cuda:N"):
        open_bundle(tiny_bundle, "abacus")
