"""Recordings of a table (tagging_clips.py) as LMDBs in the published layout, by lmdb and msgpack alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import lmdb
import msgpack
import soundfile
from tagging_clips import SAMPLE_RATE

from desed_task.audio.reading import read_waveform


def write_lmdbs(table: Path, folder: Path, sizes: Mapping[str, tuple[str, int]]) -> dict[str, Path]:
    """sizes: name of an LMDB -> the part of the table, and how many of its first clips; name -> path."""
    folder.mkdir(parents=True, exist_ok=True)
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    paths = {}
    for name, (part, number) in sizes.items():
        paths[name] = folder / f"{name}.lmdb"
        chosen = [row for row in rows if row["part"] == part][:number]
        _write([(_flac(table.parent / row["filename"]), row["labels"]) for row in chosen], paths[name])
    return paths


def _flac(path: Path) -> bytes:
    flac = io.BytesIO()
    soundfile.write(flac, read_waveform(path, SAMPLE_RATE), SAMPLE_RATE, format="FLAC")
    return flac.getvalue()


def _write(records: list[tuple[bytes, str]], path: Path) -> None:
    keys = [str(number).encode() for number in range(len(records))]
    file = lmdb.open(str(path), subdir=False, map_size=10**8)
    with file, file.begin(write=True) as into:
        for key, record in zip(keys, records, strict=True):
            into.put(key, msgpack.packb(record))
        into.put(b"__keys__", msgpack.packb(keys))
        into.put(b"__len__", msgpack.packb(len(keys)))
