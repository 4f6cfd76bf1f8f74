"""A small DESED in its published layout: real tables, real recordings, at 44.1 kHz or resampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from desed_task.labels import DESED_LABELS

STRONG = "filename\tonset\toffset\tevent_label"


def write_audio(path: Path, seconds: float, sample_rate: int, seed: int = 0) -> None:
    """Faint noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    soundfile.write(path, 0.1 * rng.standard_normal(round(seconds * sample_rate)), sample_rate, subtype="PCM_16")


def write_table(path: Path, *rows: str) -> None:
    """A table, one row per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows) + "\n")


def youtube_names(first: int, count: int) -> list[str]:
    """Names as DESED gives them: Y, eleven characters, onset and offset in the video."""
    return [f"Y{number:011d}_30.000_40.000.wav" for number in range(first, first + count)]


def write_desed(root: Path) -> None:
    """Every part: 24 synthetic, 26 real strong, 20 weak, 48 unlabeled, 6 and 5 of validation, 3 and 2 of evaluation.

    Weak, unlabeled and validation lie as published (44.1 kHz), the others resampled. A validation clip is missing.
    """
    audio, metadata = root / "audio", root / "metadata"
    synthetic = [f"{number}.wav" for number in range(24)]
    _strong(audio / "train/synthetic21_train/soundscapes_16k", metadata / "train/synthetic21_train/soundscapes.tsv",
            synthetic, 16000)  # fmt: skip
    _strong(audio / "train/strong_label_real_16k", metadata / "train/audioset_strong.tsv",
            youtube_names(100, 26), 16000)  # fmt: skip
    weak = youtube_names(200, 20)
    write_table(metadata / "train/weak.tsv", "filename\tevent_labels", *(f"{name}\tSpeech,Dog" for name in weak))
    unlabeled = youtube_names(300, 48)
    write_table(metadata / "train/unlabel_in_domain.tsv", "filename", *unlabeled)
    for folder, names in (("weak", weak), ("unlabel_in_domain", unlabeled)):
        for number, name in enumerate(names):
            write_audio(audio / "train" / folder / name, 0.4, 44100, number)
    _strong(audio / "validation/synthetic21_validation/soundscapes_16k",
            metadata / "validation/synthetic21_validation/soundscapes.tsv", synthetic[:6], 16000)  # fmt: skip
    validation = youtube_names(400, 6)
    _strong(audio / "validation/validation", metadata / "validation/validation.tsv", validation, 44100)
    (audio / "validation/validation" / validation[-1]).unlink()
    _strong(audio / "eval/public", metadata / "eval/public.tsv", ["1Ro0FgMWTUE_120_130.wav"] * 1, 44100)
    for number in range(2):
        write_audio(audio / "eval21" / f"{number}.wav", 0.7 + number, 44100, number)


def _strong(folder: Path, table: Path, names: list[str], sample_rate: int) -> None:
    """Clip n lasts 0.5 + n / 100 seconds; every fourth has no event."""
    rows = []
    for number, name in enumerate(names):
        write_audio(folder / name, 0.5 + number / 100, sample_rate, number)
        label = DESED_LABELS[number % len(DESED_LABELS)]
        rows.append(f"{name}\t\t\t" if number % 4 == 3 else f"{name}\t0.100\t0.400\t{label}")
    write_table(table, STRONG, *rows)
