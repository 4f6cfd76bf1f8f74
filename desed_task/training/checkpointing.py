"""Checkpoints that a training can be resumed from exactly, and that a kill at any moment leaves whole.

Everything random in a training is a function of (seed, epoch, step), so a checkpoint holds weights, optimiser and
schedule (Lightning's part) and how far the training has come (`Progress`). Lightning's own loop counters are rewritten
to that place: what they say in the middle of a hook would be resumed one step too early or too late.

A file is written beside its place, flushed to the disk and renamed over the old one.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io import TorchCheckpointIO

from desed_task.errors import CheckpointError

PROGRESS_KEY = "progress"
# How many processes trained together; absent where there was one.
RANKS_KEY = "ranks"


@dataclass(frozen=True)
class Progress:
    """How far a training has come: whole epochs (validated), and batches of the epoch that has begun.

    awaits_validation: all batches of the epoch are done, its validation is not. steps_per_epoch and data say what a
    step is; best_file (beside the checkpoint) was selected at best_rank. stopped_early: there is nothing to go on with.
    """

    epoch: int = 0
    step: int = 0
    awaits_validation: bool = False
    stopped_early: bool = False
    steps_per_epoch: int = 0
    data: str = ""
    best_file: str | None = None
    best_rank: float | None = None

    def to_state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return asdict(self)


def progress_of(checkpoint: Mapping[str, Any], path: Path) -> Progress:
    """How far the training of a checkpoint had come; CheckpointError when it cannot be resumed."""
    state = checkpoint.get(PROGRESS_KEY)
    known = {field.name for field in fields(Progress)}
    if (
        not isinstance(state, Mapping)
        or state.keys() != known
        or not {"loops", "optimizer_states"} <= checkpoint.keys()
    ):
        raise CheckpointError(
            f"{path}: the checkpoint does not say how far its training had come, so it cannot be resumed; test it, or "
            f"train anew"
        )
    return Progress(**state)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, on the CPU; CheckpointError when it cannot be read."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for a file that is not a checkpoint
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({reason}); name another, such as an epoch=*.ckpt beside it"
        ) from None
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"{path}: not a checkpoint but a {type(checkpoint).__name__}; name another file")
    return checkpoint


class WholeFiles(TorchCheckpointIO):
    """Lightning's way to the disk: a checkpoint is there as a whole or not at all.

    A failure waits for `require_written`: where rank 0 writes, Lightning lets the others wait right behind the writing.
    """

    def __init__(self) -> None:
        super().__init__()
        self._error: CheckpointError | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write, flush, rename."""
        try:
            write_checkpoint(checkpoint, Path(path))
        except CheckpointError as error:
            self._error = error

    def require_written(self) -> None:
        """CheckpointError when the last checkpoint could not be written."""
        error, self._error = self._error, None
        if error is not None:
            raise error


def write_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint over the one before; CheckpointError, and the one before as it was, when the disk refuses."""
    content = io.BytesIO()
    torch.save(dict(checkpoint), content)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content.getbuffer())
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise CheckpointError(
            f"{path}: the checkpoint cannot be written ({error.strerror or error}), the one before is as it was; make "
            f"room, then go on with --resume_from_checkpoint {path.parent}"
        ) from None


def _flush_folder(folder: Path) -> None:
    """Without it a power cut may undo the rename."""
    with contextlib.suppress(OSError):  # not every file system has folders that can be flushed
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def place_loops(loops: Mapping[str, Any], progress: Progress, global_step: int) -> None:
    """Rewrite the counters of Lightning's fit loop (2.x) in a checkpoint so that it resumes exactly at `progress`.

    An epoch that has begun is "ready" and "started", not "processed"; all its batches so far are "completed", which is
    how Lightning knows that no batch is to be repeated. A validation that is awaited has begun and not ended.
    """
    fit = loops["fit_loop"]
    begun = int(progress.step > 0)
    _place(fit["epoch_progress"], progress.epoch, progress.epoch, begun)
    batches = progress.epoch * progress.steps_per_epoch + progress.step
    _place(fit["epoch_loop.batch_progress"], batches, progress.step, 0)
    fit["epoch_loop.batch_progress"]["is_last_batch"] = progress.awaits_validation
    _place(fit["epoch_loop.val_loop.batch_progress"], 0, 0, int(progress.awaits_validation))
    fit["epoch_loop.val_loop.batch_progress"]["is_last_batch"] = False
    # The step of the log; Lightning counts an epoch's last one after its validation.
    fit["epoch_loop.state_dict"]["_batches_that_stepped"] = global_step - int(progress.awaits_validation)


def _place(counter: dict[str, Any], total: int, current: int, begun: int) -> None:
    for name, done in (("total", total), ("current", current)):
        counter[name].update(ready=done + begun, started=done + begun, processed=done, completed=done)
