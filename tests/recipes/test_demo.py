"""The demonstration, in full: what a newcomer runs first."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_demo_trains_serves_and_finds_an_event(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(project / "recipes" / "demo.py"), "--output_dir", str(tmp_path / "demo")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "POST /v1/events" in done.stdout and "served events match the reference" in done.stdout


@pytest.mark.slow
def test_a_model_that_did_not_learn_fails_the_demo(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(project / "recipes" / "demo.py"), "--output_dir", str(tmp_path / "demo")]
    shorter = [
        "training.n_epochs=1",
        "training.n_epochs_warmup=0",
        "training.decay_from_epoch=null",
        "training.validation_interval=1",
        "training.learning_rate=1e-6",
    ]
    done = subprocess.run(
        [*command, *(f"--set={override}" for override in shorter)],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the demonstration failed: PSDS1 gained" in done.stdout
