"""Chunks of clips: where each begins, and of which clip it is. Lengths in samples.

Starts are 0, hop, 2 hop ... Policies for the end of a clip of n samples, with chunks of L:

    tile   every start before n (ceil(n / hop) chunks), what is shorter than L is repeated: fsd50k-pytorch, where the
           last chunk of a clip of exactly L is its second half twice
    shift  every start with a whole chunk, and one more that ends with the clip where samples are left
    drop   every start with a whole chunk

A clip shorter than L is one chunk, whatever the policy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from desed_task.data.tagging_options import Tail


def chunk_counts(lengths: NDArray[np.int64], chunk: int, hop: int, tail: Tail) -> NDArray[np.int64]:
    """Chunks of clips of `lengths` samples: (clips,)."""
    if tail == "tile":
        counts = -(-lengths // hop)
    else:
        left = np.maximum(lengths - chunk, 0)
        counts = left // hop + 1
        if tail == "shift":
            counts += left % hop > 0
    return np.where(lengths < chunk, 1, counts)


def cut_chunks(
    lengths: NDArray[np.int64], chunk: int, hop: int, tail: Tail
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(clip, first sample) of every chunk, clip after clip."""
    counts = chunk_counts(lengths, chunk, hop, tail)
    clips = np.repeat(np.arange(len(lengths)), counts)
    places = np.arange(len(clips)) - np.repeat(np.cumsum(counts) - counts, counts)
    firsts = places * hop
    if tail == "shift":
        firsts = np.minimum(firsts, np.maximum(lengths - chunk, 0)[clips])
    return clips, firsts
