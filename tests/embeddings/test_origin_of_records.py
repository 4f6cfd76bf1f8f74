"""Embeddings of clips of an LMDB know whether their recordings are what they were."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from lmdb_files import flac_of, noise, write_published

from desed_task.embeddings.origin import is_unchanged, recording_of
from desed_task.errors import DesedTaskError


def write(path: Path, seeds: list[int]) -> Path:
    path.unlink(missing_ok=True)
    return write_published(path, [(flac_of(noise(seed, 500)), "hum") for seed in seeds])


def test_a_record_is_unchanged_while_its_bytes_are_whatever_happens_to_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.lmdb", [0, 1])
    before = recording_of(path / "1")
    assert before.sha256 == hashlib.sha256(flac_of(noise(1, 500))).hexdigest()
    assert is_unchanged(path / "1", before)
    write(tmp_path / "b.lmdb", [0, 1, 2]).replace(path)
    assert is_unchanged(path / "1", before)
    write(tmp_path / "b.lmdb", [0, 2, 1]).replace(path)
    assert not is_unchanged(path / "1", before)


def test_a_record_that_is_gone_is_one_sentence(tmp_path: Path) -> None:
    path = write(tmp_path / "a.lmdb", [0, 1])
    with pytest.raises(DesedTaskError, match=r"a\.lmdb/7: cannot be read \(no record '7'\); fetch it again"):
        recording_of(path / "7")
