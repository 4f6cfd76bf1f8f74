"""DESED in the published shape, with a few clips of 2 s: its archives, behind a server on the loopback."""

from __future__ import annotations

import io
import tarfile
import wave
import zipfile
from pathlib import Path

from loopback_site import Site

SAMPLE_RATE = 8000
WEAK, UNLABELED, VALIDATION, STRONG = "ABC", "DEFG", "HI", "JKL"
VIDEOS = {letter: letter * 11 for letter in WEAK + UNLABELED + VALIDATION + STRONG}
METADATA_PATH = "/api/records/4639776/files/audioset_metadata.tar.gz/content"
SYNTHETIC_PATH = "/api/records/6026841/files/dcase_synth.zip/content"
STRONG_PATH = "/api/records/6444477/files/audioset_strong.tsv/content"


def clip(letter: str) -> str:
    return f"Y{VIDEOS[letter]}_30.000_32.000.wav"


def publish(site: Site) -> None:
    """The three records; synthetic soundscapes are incompressible, so that the zip has some length."""
    site.publish(4639776, "audioset_metadata.tar.gz", _metadata())
    site.publish(6444477, "audioset_strong.tsv", _strong(STRONG).encode())
    site.publish(6026841, "dcase_synth.zip", _synthetic())


def whole_set() -> set[str]:
    """Every file of the complete set, below its root."""
    tables = {"train/weak", "train/unlabel_in_domain", "validation/validation", "train/audioset_strong"}
    folders = {
        "train/weak": WEAK,
        "train/unlabel_in_domain": UNLABELED,
        "validation/validation": VALIDATION,
        "train/strong_label_real": STRONG,
    }
    files = {f"metadata/{table}.tsv" for table in tables}
    files |= {f"audio/{folder}/{clip(letter)}" for folder, letters in folders.items() for letter in letters}
    for split, number in (("train", 4), ("validation", 2)):
        inside = f"{split}/synthetic21_{split}/soundscapes"
        files |= {f"metadata/{inside}.tsv"}
        files |= {f"audio/{inside}/{i}.{suffix}" for i in range(number) for suffix in ("wav", "jams")}
    return files | {"metadata/validation/synthetic21_validation/durations.tsv"}


def held(root: Path) -> set[str]:
    """Every file below the root, but for the lock."""
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} - {".fetch.lock"}


def _metadata() -> bytes:
    weak = "filename\tevent_labels\n" + "".join(f"{clip(letter)}\tSpeech,Dog\n" for letter in WEAK)
    unlabeled = "filename\n" + "".join(f"{clip(letter)}\n" for letter in UNLABELED)
    tables = {
        "metadata/train/weak.tsv": weak,
        "metadata/train/unlabel_in_domain.tsv": unlabeled,
        "metadata/validation/validation.tsv": _strong(VALIDATION),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in tables.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def _synthetic() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for split, number in (("train", 4), ("validation", 2)):
            inside = f"{split}/synthetic21_{split}/soundscapes"
            for i in range(number):
                archive.writestr(f"dcase_synth/audio/{inside}/{i}.wav", _noise(i))
                archive.writestr(f"dcase_synth/audio/{inside}/{i}.jams", "{}")
            rows = "".join(f"{i}.wav\t0.1\t0.9\tDog\n" for i in range(number))
            archive.writestr(f"dcase_synth/metadata/{inside}.tsv", f"filename\tonset\toffset\tevent_label\n{rows}")
        durations = "filename\tduration\n0.wav\t2.0\n1.wav\t2.0\n"
        archive.writestr("dcase_synth/metadata/validation/synthetic21_validation/durations.tsv", durations)
    return packed.getvalue()


def _strong(letters: str) -> str:
    rows = "".join(f"{clip(letter)}\t0.1\t0.9\tDog\n{clip(letter)}\t1.0\t1.5\tCat\n" for letter in letters)
    return f"filename\tonset\toffset\tevent_label\n{rows}"


def _noise(seed: int) -> bytes:
    import numpy as np

    recording = io.BytesIO()
    with wave.open(recording, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(SAMPLE_RATE)
        stream.writeframes(np.random.default_rng(seed).integers(-3000, 3000, 2 * SAMPLE_RATE, dtype="int16").tobytes())
    return recording.getvalue()
