"""Soundbank: where the isolated events and the backgrounds of a scene come from.

A soundbank serves one split (train, validation, test ...). Every sound carries its `source`: the recording, or the
synthetic voice, that it stems from. No source serves two splits, so nothing that is heard in training is heard again
in a test; `sources.tsv` beside each generated part lists them as proof.

All waveforms are (samples,) float32 at the soundbank's `sample_rate`. Drawing takes a Generator; what was drawn is a
frozen `Sound`, and reading the same `Sound` twice gives the same samples.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol
from zlib import crc32

import numpy as np

from desed_task.audio.reading import Waveform
from desed_task.errors import CorpusError
from desed_task.soundscapes.isolation import Isolation

# At which sounds are synthesised, and scenes mixed whose conf names no other rate.
SAMPLE_RATE = 16_000
# The name under which backgrounds stand in the tables of sources.
BACKGROUND = "background"


@dataclass(frozen=True)
class Sound:
    """One isolated event or one background of a soundbank.

    event_label: class name, or BACKGROUND; source: what it stems from; recording: the file (or voice) that is read;
    take: which isolated event of the recording, where the background starts, or the seed of a synthesis; start_seconds:
    where in the recording it begins (0 in a synthesis).
    """

    event_label: str
    source: str
    recording: str
    take: int
    start_seconds: float = 0.0


class Backgrounds(Protocol):
    """Supplier of backgrounds."""

    @property
    def is_endless(self) -> bool:
        """Whether each draw makes a background that was never heard before: a synthesis."""
        ...

    def draw(self, rng: np.random.Generator, num_samples: int) -> Sound:
        """Choose a background for a scene of `num_samples`."""
        ...

    def read(self, sound: Sound, num_samples: int) -> Waveform:
        """(num_samples,) of a drawn background."""
        ...


class Soundbank(Protocol):
    """Supplier of isolated events by class, and of backgrounds, for one split."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes of which it has events."""
        ...

    @property
    def sample_rate(self) -> int:
        """Hz of all its waveforms."""
        ...

    @property
    def isolation(self) -> Isolation:
        """How its recordings become events."""
        ...

    @property
    def backgrounds(self) -> Backgrounds:
        """Its backgrounds."""
        ...

    @property
    def is_endless(self) -> bool:
        """Whether each draw makes an event that was never heard before: a synthesis."""
        ...

    def draw_event(self, rng: np.random.Generator, event_label: str) -> Sound:
        """Choose an isolated event of a class."""
        ...

    def read_event(self, sound: Sound) -> Waveform:
        """(samples,) of a drawn event; not to be written to."""
        ...


def require_labels(soundbank: Soundbank, labels: Iterable[str], split: str) -> None:
    """CorpusError naming the first class of which the soundbank has no event."""
    for label in labels:
        if label not in soundbank.labels:
            raise CorpusError(
                f"the soundbank of split {split!r} has no class {label!r} (it has {', '.join(soundbank.labels)}); "
                f"correct scene.labels or add recordings"
            )


def seeded(*keys: int | str) -> np.random.Generator:
    """A Generator that belongs to these keys alone: the same keys, the same stream, in any process and any order."""
    return np.random.default_rng([crc32(key.encode()) if isinstance(key, str) else key for key in keys])
