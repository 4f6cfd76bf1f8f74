"""Checkpoints of several epochs, or of several trainings of one system, averaged to one that can be tested.

Detectors hold `sed_student` and `sed_teacher`, taggers `model`; bare state dicts, as most published taggers are saved,
are averaged as they are. The average cannot be resumed from: it has no optimiser.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from desed_task.errors import CheckpointError
from desed_task.training.checkpointing import read_checkpoint
from desed_task.training.weight_averaging import AveragingMode, WeightAverage

MODELS = ("sed_student", "sed_teacher", "model")
DESCRIPTION, AVERAGED = "desed_task", "averaged"
# What must be the same where weights are to mean the same.
_SHARED_OPTIONS = ("labels", "features", "model", "embedders")
# epoch=16-step=3000.ckpt, epoch_16.pt, audio_model.16.pth
_EPOCH = re.compile(r"epoch[=_-]?(\d+)|\.(\d+)\.[a-z]+$")


def epoch_of(path: Path) -> int | None:
    """The epoch that a checkpoint's name tells, as it is written there; None when it tells none."""
    found = _EPOCH.search(path.name)
    return int(found[1] or found[2]) if found else None


def find_epochs(folder: Path, first: int, last: int) -> list[Path]:
    """The checkpoints of the epochs first to last, by number; CheckpointError when one is not there, or there twice."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder of checkpoints")
    by_epoch: dict[int, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        epoch = epoch_of(path) if path.suffix in (".ckpt", ".pt", ".pth") else None
        if epoch is not None:
            by_epoch.setdefault(epoch, []).append(path)
    missing = [epoch for epoch in range(first, last + 1) if epoch not in by_epoch]
    if missing:
        there = ", ".join(map(str, sorted(by_epoch))) or "none"
        raise CheckpointError(f"{folder}: no checkpoint of epoch {missing[0]}; there are those of epochs {there}")
    for epoch in range(first, last + 1):
        if len(by_epoch[epoch]) > 1:
            names = " and ".join(path.name for path in by_epoch[epoch][:2])
            raise CheckpointError(f"{folder}: {names} are both of epoch {epoch}; name files with --checkpoints")
    return [by_epoch[epoch][0] for epoch in range(first, last + 1)]


def average_checkpoints(
    paths: Sequence[Path], mode: AveragingMode = "mean", progress: Callable[[Iterable[Path]], Iterable[Path]] = iter
) -> dict[str, Any]:
    """The average of at least two checkpoints, read one after the other; CheckpointError when they do not fit.

    What a checkpoint says of its system is taken from the last. progress: shows how far the reading is.
    """
    if len(paths) < 2:
        raise CheckpointError(f"one average of {len(paths)} checkpoint(s); name at least two")
    averages: dict[str, WeightAverage] = {}
    first: Mapping[str, Any] = {}
    checkpoint: Mapping[str, Any] = {}
    for number, path in enumerate(progress(paths)):
        checkpoint = read_checkpoint(path)
        weights = _weights_of(checkpoint, path)
        if not number:
            first, averages = checkpoint, {name: WeightAverage(mode) for name in weights}
        _require_same_system(first, checkpoint, averages, weights, paths[0], path)
        for name, average in averages.items():
            _add(average, weights[name], path)
    averaged = {name: average.average() for name, average in averages.items()}
    if set(averaged) == {""}:
        return dict(averaged[""])
    described = {DESCRIPTION: checkpoint[DESCRIPTION]} if DESCRIPTION in checkpoint else {}
    return {**averaged, **described, AVERAGED: {"mode": mode, "files": [path.name for path in paths]}}


def _weights_of(checkpoint: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Tensor]]:
    """Model -> its weights; the model of a bare state dict has no name."""
    named = {name: checkpoint[name] for name in MODELS if isinstance(checkpoint.get(name), Mapping)}
    if not named and checkpoint and all(isinstance(values, Tensor) for values in checkpoint.values()):
        named = {"": checkpoint}
    if not named:
        raise CheckpointError(f"{path}: holds no weights ({', '.join(MODELS)}, or a bare state dict); name another")
    return named


def _require_same_system(
    first: Mapping[str, Any],
    other: Mapping[str, Any],
    averages: Mapping[str, WeightAverage],
    weights: Mapping[str, Any],
    first_path: Path,
    path: Path,
) -> None:
    if weights.keys() != averages.keys():
        raise CheckpointError(f"{path}: holds other models than {first_path}; average checkpoints of one kind")
    mine, its = ({**(held.get(DESCRIPTION) or {}).get("options", {})} for held in (first, other))
    for key in _SHARED_OPTIONS:
        if mine.get(key) != its.get(key):
            raise CheckpointError(f"{path}: its {key} are not those of {first_path}; average checkpoints of one system")


def _add(average: WeightAverage, weights: Mapping[str, Tensor], path: Path) -> None:
    try:
        average.add(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
