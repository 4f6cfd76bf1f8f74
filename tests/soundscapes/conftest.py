"""A soundbank of small files, and options for scenes of two seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from desed_task.audio.reading import write_waveform

RATE = 16_000


def tone(seconds: float, frequency: float = 440.0, level: float = 0.5) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (level * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), dtype=np.float32)


@pytest.fixture(scope="session")
def folder_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """foreground/{Cat,Dog}: six sources of two takes each; background: six sources. Sources are named s0 ... s5."""
    root = tmp_path_factory.mktemp("folder_bank")
    for label, frequency in (("Cat", 900.0), ("Dog", 300.0)):
        (root / "foreground" / label).mkdir(parents=True)
        for source in range(6):
            for take in "ab":
                waveform = np.concatenate([silence(0.2), tone(0.4, frequency + 20 * source), silence(0.2)])
                write_waveform(root / "foreground" / label / f"{label}{source}_{take}.wav", waveform, RATE)
    (root / "background").mkdir()
    rng = np.random.default_rng(0)
    for source in range(6):
        waveform = (0.1 * rng.standard_normal(RATE)).astype(np.float32)
        write_waveform(root / "background" / f"room{source}.flac", waveform, RATE)
    return root
