"""LMDBs for tests, written and read as the published code writes and reads them: plain lmdb and msgpack, none of ours.

The layout is that of GISE-51: keys are decimal numbers, values msgpack of (FLAC bytes, label) or (FLAC bytes, class
number, fold), `__keys__` and `__len__` are msgpack too.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000


def noise(seed: int, num_samples: int) -> NDArray[np.int16]:
    """Loud 16-bit noise."""
    return np.random.default_rng(seed).integers(-30_000, 30_000, num_samples, dtype=np.int16)


def flac_of(samples: NDArray[Any], sample_rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    """A FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format="FLAC", subtype=subtype)
    return file.getvalue()


def write_published(path: Path, records: Sequence[tuple[Any, ...]], further: Mapping[bytes, Any] | None = None) -> Path:
    """The LMDB of `records`; `further`: what is put last, such as another __keys__, None for what is taken out."""
    values = {str(number).encode(): msgpack.packb(record) for number, record in enumerate(records)}
    keys = [str(number).encode() for number in range(len(records))]
    return write_values(
        path, {**values, b"__keys__": msgpack.packb(keys), b"__len__": msgpack.packb(len(keys))}, further
    )


def write_values(path: Path, values: Mapping[bytes, bytes], further: Mapping[bytes, Any] | None = None) -> Path:
    """An LMDB of any values; a folder where `path` is one."""
    environment = lmdb.open(str(path), subdir=path.is_dir(), map_size=1 << 26, lock=False)
    with environment.begin(write=True) as transaction:
        for key, value in {**values, **(further or {})}.items():
            if value is not None:
                transaction.put(key, value)
    environment.close()
    return path


def read_published(path: Path) -> list[list[Any]]:
    """What a published reader finds: the records of __keys__, of which there are __len__."""
    with (
        lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False) as environment,
        environment.begin() as open_,
    ):
        length, keys = msgpack.unpackb(open_.get(b"__len__")), msgpack.unpackb(open_.get(b"__keys__"))
        assert length == len(keys)
        return [msgpack.unpackb(open_.get(key)) for key in keys]


def read_all(path: Path) -> dict[bytes, bytes]:
    """Every key and value of a file."""
    with (
        lmdb.open(str(path), subdir=path.is_dir(), readonly=True, lock=False) as environment,
        environment.begin() as open_,
    ):
        return dict(open_.cursor())


def write_mixtures(folder: Path, num: int, sample_rate: int = RATE, num_samples: int = 4_000) -> Path:
    """NAME.flac and NAME.txt of so many mixtures: hum from 0.05 s, and in every second one hiss and hum again."""
    folder.mkdir(parents=True)
    for number in range(num):
        (folder / f"mix_{number:03d}.flac").write_bytes(flac_of(noise(number, num_samples + number), sample_rate))
        lines = ["0.05\t0.1\thum"] + ["0.1\t0.2\thiss", "0.15\t0.2\thum"] * (number % 2)
        (folder / f"mix_{number:03d}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder
