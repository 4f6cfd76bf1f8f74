"""Where the samples of the training clips lie: memory-mapped on disk, or as one int16 tensor on the training's device.

The training audio of DESED is 8 GB as int16, which a GPU holds; batches are then cut out where they are used and
nothing travels. `data.residence: auto` takes that way on a GPU half of whose free memory suffices. The numbers are
those of the mapped way, to the last bit.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from desed_task.data.mapped import SCALE, Excerpts, MappedExcerpts, SampleStore, each_excerpt
from desed_task.data.store_index import SAMPLE_BYTES
from desed_task.errors import OptionsError

LOG = logging.getLogger(__name__)
Residence = Literal["mapped", "resident"]
AskedResidence = Literal["auto", "mapped", "resident"]
SHARE_OF_FREE = 0.5
_MEMINFO = Path("/proc/meminfo")


class ResidentExcerpts:
    """From a tensor of all samples to a batch on the same device."""

    def __init__(self, store: SampleStore, device: torch.device) -> None:
        ends = store.lengths.cumsum()
        self._first: list[int] = (ends - store.lengths).tolist()
        self._end: list[int] = ends.tolist()
        self._all = torch.empty(self._end[-1], dtype=torch.int16, device=device)
        block = torch.empty(int(store.lengths.max()), dtype=torch.int16)
        samples = each_excerpt(store, [(clip, 0) for clip in range(len(store))], len(block))
        for clip in tqdm(range(len(store)), desc=f"clips to {device}", unit="clip", disable=None):
            length = int(store.lengths[clip])
            # By way of a block of memory: torch takes no read-only array.
            block.numpy()[:length] = next(samples)
            self._all[self._first[clip] : self._end[clip]].copy_(block[:length])
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # batches are made on a stream of their own

    @property
    def num_samples(self) -> int:
        """Samples that are held."""
        return len(self._all)

    def fill(self, chosen: Sequence[tuple[int, int]], waveforms: Tensor) -> None:
        """As Excerpts.fill."""
        for row, (clip, first_sample) in zip(waveforms.unbind(), chosen, strict=True):
            first = self._first[clip] + first_sample
            samples = self._all[first : min(first + len(row), self._end[clip])]
            _scale(samples, row[: len(samples)])
            if len(samples) < len(row):
                row[len(samples) :].zero_()


def _scale(samples: Tensor, row: Tensor) -> None:
    """int16 -> float32, on one device; on the CPU by one thread, as MappedExcerpts.gather says."""
    if row.device.type == "cpu":
        heard = row.numpy()
        heard[:] = samples.numpy()
        heard *= np.float32(SCALE)
    else:
        torch.mul(samples, SCALE, out=row)


def build_excerpts(stores: Sequence[SampleStore], device: torch.device, asked: AskedResidence) -> list[Excerpts]:
    """The excerpts of each store for batches on `device`. OptionsError when they are to be resident and do not fit."""
    if not stores:
        return []
    num_bytes = SAMPLE_BYTES * sum(int(store.lengths.sum()) for store in stores)
    residence = choose_residence(num_bytes, device.type, _free_bytes(device), asked)
    where = f"resident on {device}" if residence == "resident" else "memory-mapped"
    LOG.info("training clips: %s, %s MB", where, _megabytes(num_bytes))
    if residence == "mapped":
        return [MappedExcerpts(store) for store in stores]
    try:
        return [ResidentExcerpts(store, device) for store in stores]
    except torch.OutOfMemoryError:  # what is free may lie in pieces
        raise OptionsError(
            f"data.residence: the training clips are {_megabytes(num_bytes)} MB, for which {device} has no room in one "
            f"piece; take mapped"
        ) from None


def choose_residence(num_bytes: int, device_type: str, free_bytes: float, asked: AskedResidence) -> Residence:
    """What `asked` comes to for so many bytes of samples; OptionsError where it cannot be."""
    if asked == "auto":
        return "resident" if device_type == "cuda" and num_bytes <= SHARE_OF_FREE * free_bytes else "mapped"
    if asked == "resident" and num_bytes > free_bytes:
        raise OptionsError(
            f"data.residence: resident, but the training clips are {_megabytes(num_bytes)} MB and "
            f"{_megabytes(free_bytes)} MB of the {device_type} memory are free; take auto or mapped"
        )
    return asked


def _free_bytes(device: torch.device) -> float:
    """Memory for the asking on a device; infinite where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if not _MEMINFO.is_file():
        return math.inf
    lines = dict(line.split(":") for line in _MEMINFO.read_text(encoding="ascii").splitlines())
    return 1024.0 * int(lines["MemAvailable"].split()[0]) if "MemAvailable" in lines else math.inf


def _megabytes(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.{1 if num_bytes < 1e8 else 0}f}"
