"""The file that an embedder's weights are from: known by its sha256, wherever it lies.

A frozen embedder is in no checkpoint, so a detector is only whole with that very file. When a training begins its
sha256 is written down; whoever reads the file later asks for the same. A folder counts as the files of weights in it,
by their names.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from desed_task.errors import CheckpointError

_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
_SHOWN = 12


def sha256_of(path: Path) -> str:
    """Of a file or a folder; read once per process, unless it changes. CheckpointError when it is not there."""
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES) if path.is_dir() else [path]
    if not files or not path.exists():
        raise CheckpointError(f"{path}: no weights of an embedder are there; name their file")
    digests = [_sha256(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    if not path.is_dir():
        return digests[0]
    named = "".join(f"{file.name} {digest}\n" for file, digest in zip(files, digests, strict=True))
    return hashlib.sha256(named.encode()).hexdigest()


def require_weights(path: Path, sha256: str | None) -> None:
    """CheckpointError when the weights are not there, or not those with this sha256."""
    if not path.exists():
        raise CheckpointError(
            f"{path}: the weights of an embedder are not there, and no checkpoint holds those of one that is frozen or "
            f"stored; put the file back, there or beside the detector's checkpoint"
        )
    if sha256 is not None and (found := sha256_of(path)) != sha256:
        raise CheckpointError(
            f"{path}: not the weights that the conf names or the detector was trained with (sha256 "
            f"{found[:_SHOWN]}..., those have {sha256[:_SHOWN]}...); put them there or, after removing these, beside "
            f"the checkpoint"
        )


def found_beside(path: Path, folder: Path) -> Path:
    """`path`, or the file of its name in `folder` where only that is there."""
    beside = folder / path.name
    return beside if not path.exists() and beside.exists() else path


@cache
def _sha256(file: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001  they tell one content from another
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
