"""Whether two run folders hold one and the same training, to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from desed_task.training.checkpointing import read_checkpoint
from desed_task.training.throughput import CLIPS_PER_SECOND, KWH_PER_1000_STEPS

# What is measured and not computed differs from run to run.
MEASURED = {CLIPS_PER_SECOND, KWH_PER_1000_STEPS}


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two checkpoints differ, to the last bit."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = [f"{place}.{key}" for key in one.keys() ^ other.keys()]
        return keys + [
            found for key in one if key in other for found in differences(one[key], other[key], f"{place}.{key}")
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        return [
            found
            for number, (a, b) in enumerate(zip(one, other, strict=True))
            for found in differences(a, b, f"{place}.{number}")
        ]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [place]
    return [] if one == other else [f"{place}: {one} != {other}"]


def assert_same_checkpoints(one: Path, other: Path) -> None:
    """By name and content."""
    names = sorted(path.name for path in one.glob("*.ckpt"))
    assert names == sorted(path.name for path in other.glob("*.ckpt"))
    assert len(names) == 2 + ("averaged.ckpt" in names)
    for name in names:
        found = differences(read_checkpoint(one / name), read_checkpoint(other / name))
        assert not found, f"{name}: {len(found)} differences, the first {found[:3]}"


def assert_same_training(one: Path, other: Path) -> None:
    """Checkpoints, and the log: rates, losses and figures by step."""
    assert_same_checkpoints(one, other)
    assert logged(one) == logged(other)


def read_events(folder: Path) -> EventAccumulator:
    """What TensorBoard shows of a run. It reads event files by name, in which 10 stands before 9 of the same second."""
    files = sorted(folder.glob("events.out.tfevents.*"), key=_begun)
    with TemporaryDirectory() as ordered:
        for number, path in enumerate(files):
            shutil.copy(path, Path(ordered, f"events.out.tfevents.{number:04d}"))
        events = EventAccumulator(ordered)
        events.Reload()
    return events


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value) of all that is computed."""
    events = read_events(folder)
    tags = sorted(set(events.Tags()["scalars"]) - MEASURED)
    return {tag: [(of.step, of.value) for of in events.Scalars(tag)] for tag in tags}


def _begun(path: Path) -> tuple[int, int]:
    """Second, and number within the process."""
    parts = path.name.split(".")
    return int(parts[3]), int(parts[-1])
