"""Silence: where a recording is audible, and the isolated events that follow from it.

The level of a recording is the RMS of blocks of 10 ms. A block is audible when it is at most `below_peak_db` below the
loudest block of the same recording, so neither gain nor the length of the silence around a sound matters. Audible
stretches less than `max_gap_seconds` apart are one event (a dog that barks three times, a ticking clock).

Stretches shorter than `min_event_seconds` are dropped as specks, unless the recording has no longer one (a single
click): then each is lengthened around its middle with the quiet samples beside it. Times here are samples,
half-open [first, last).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from desed_task.audio.reading import Waveform
from desed_task.options import Options

BLOCK_SECONDS = 0.010

Stretch = tuple[int, int]


class IsolationOptions(Options):
    """What is audible in a recording, and what belongs to one event."""

    name: Literal["audible"] = "audible"
    below_peak_db: float = Field(default=35.0, gt=0, description="Blocks this far below the loudest one are silent.")
    max_gap_seconds: float = Field(default=0.5, ge=0, description="Silences shorter than this stay inside one event.")
    min_event_seconds: float = Field(
        default=0.05, gt=0, description="Shorter stretches are dropped, or lengthened if alone."
    )

    def isolate(self, waveform: Waveform, sample_rate: int, event_label: str) -> list[tuple[int, Waveform]]:  # noqa: ARG002
        """(first sample, samples) of each event of a recording. ValueError where it holds nothing but silence."""
        stretches = isolated_events(waveform, sample_rate, self)
        if not stretches:
            raise ValueError("holds nothing but silence")
        return [(first, waveform[first:last]) for first, last in stretches]

    def outline(self, waveform: Waveform, sample_rate: int) -> Outline:
        """An excerpt begins and ends with something audible."""
        return outline_of(waveform, sample_rate, self.below_peak_db)


def audible_blocks(waveform: Waveform, sample_rate: int, below_peak_db: float) -> NDArray[np.bool_]:
    """(samples,) -> (blocks,) of 10 ms, the last one padded; nothing is audible in digital silence."""
    block = block_samples(sample_rate)
    num_blocks = -(-len(waveform) // block)
    padded = np.zeros(num_blocks * block, dtype=np.float32)
    padded[: len(waveform)] = waveform
    power = np.square(padded).reshape(num_blocks, block).mean(axis=1)
    loudest = power.max(initial=0.0)
    return np.asarray((power > 0) & (power >= loudest * 10 ** (-below_peak_db / 10)))


def isolated_events(waveform: Waveform, sample_rate: int, options: IsolationOptions) -> list[Stretch]:
    """The isolated events of a recording in samples, in order; none in digital silence."""
    audible = np.flatnonzero(audible_blocks(waveform, sample_rate, options.below_peak_db))
    if not len(audible):
        return []
    block = block_samples(sample_rate)
    silence_before = (np.diff(audible) - 1) * block / sample_rate
    groups = np.split(audible, np.flatnonzero((silence_before > 0) & (silence_before >= options.max_gap_seconds)) + 1)
    stretches = [(int(group[0]) * block, min((int(group[-1]) + 1) * block, len(waveform))) for group in groups]
    min_length = min(len(waveform), round(options.min_event_seconds * sample_rate))
    long_enough = [(start, stop) for start, stop in stretches if stop - start >= min_length]
    return long_enough or [_lengthened(stretch, min_length, len(waveform)) for stretch in stretches]


@dataclass(frozen=True, eq=False)
class Outline:
    """What an excerpt of an event is drawn from: its length, and the first samples of its audible blocks, in order.

    Where `audible` is None an excerpt may begin anywhere.
    """

    num_samples: int
    audible: NDArray[np.int64] | None
    block_samples: int


def outline_of(waveform: Waveform, sample_rate: int, below_peak_db: float) -> Outline:
    """The outline of (samples,)."""
    block = block_samples(sample_rate)
    return Outline(len(waveform), np.flatnonzero(audible_blocks(waveform, sample_rate, below_peak_db)) * block, block)


def draw_excerpt(rng: np.random.Generator, outline: Outline, max_samples: int) -> Stretch:
    """A random part of an event, at most `max_samples` long, that begins and ends where its outline allows it."""
    if outline.num_samples <= max_samples:
        return 0, outline.num_samples
    start = int(rng.integers(0, outline.num_samples - max_samples + 1))
    if outline.audible is None:
        return start, start + max_samples
    first = int(np.searchsorted(outline.audible, start))
    last = int(np.searchsorted(outline.audible, start + max_samples - outline.block_samples, side="right"))
    # A limit shorter than a gap inside the event may find nothing; every event begins with something audible.
    if first >= last:
        return 0, max_samples
    return int(outline.audible[first]), int(outline.audible[last - 1]) + outline.block_samples


def block_samples(sample_rate: int) -> int:
    """Samples per block."""
    return max(1, round(BLOCK_SECONDS * sample_rate))


def _lengthened(stretch: Stretch, min_length: int, num_samples: int) -> Stretch:
    start = (stretch[0] + stretch[1] - min_length) // 2
    start = min(max(start, 0), num_samples - min_length)
    return start, start + min_length
