"""Recorded sounds: isolated events and backgrounds cut from recordings on disk.

Sources are drawn evenly, then a recording of the source, then one of its isolated events, so a long or often repeated
source is not heard more often than a short one. A process remembers where the events of every recording begin, and the
samples of the recordings that it decoded last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.errors import CorpusError, OptionsError
from desed_task.soundscapes.isolation import Isolation
from desed_task.soundscapes.soundbank import BACKGROUND, SAMPLE_RATE, Backgrounds, Sound

# source -> its recordings, both in a fixed order: what is drawn must not depend on how a disk lists its files.
Sources = Mapping[str, tuple[Path, ...]]

_REMEMBERED_RECORDINGS, _REMEMBERED_BACKGROUNDS = 1024, 64
# So often a recording is drawn again of which isolation leaves nothing.
_USABLE_TRIES = 100


class RecordedSoundbank:
    """Events cut from recordings: class name -> sources of that class."""

    is_endless = False

    def __init__(
        self,
        events: Mapping[str, Sources],
        backgrounds: Backgrounds,
        isolation: Isolation,
        sample_rate: int = SAMPLE_RATE,
    ) -> None:
        self._events = {label: dict(sources) for label, sources in events.items() if sources}
        self.labels = tuple(self._events)
        self.backgrounds = backgrounds
        self.isolation = isolation
        self.sample_rate = sample_rate
        self._isolated = lru_cache(_REMEMBERED_RECORDINGS)(self._read_isolated)
        self._starts = cache(self._read_starts)

    def draw_event(self, rng: np.random.Generator, event_label: str) -> Sound:
        """Choose an isolated event of a class. AudioError or CorpusError when its recording cannot be used."""
        for _ in range(_USABLE_TRIES):
            source, recording = _draw_recording(rng, self._events[event_label])
            starts = self._starts(event_label, recording)
            if starts:
                take = int(rng.integers(len(starts)))
                return Sound(event_label, source, str(recording), take, starts[take] / self.sample_rate)
        raise CorpusError(
            f"{recording}: nothing is left of it, nor of others of its class; lower isolation's threshold"
        )

    def read_event(self, sound: Sound) -> Waveform:
        """(samples,) of a drawn event."""
        return self._isolated(sound.event_label, Path(sound.recording))[sound.take][1]

    def recordings(self) -> list[tuple[str, str, Path]]:
        """(class, source, recording) of everything that events are cut from, in a fixed order."""
        return [
            (label, source, recording)
            for label, sources in self._events.items()
            for source, recordings in sources.items()
            for recording in recordings
        ]

    def sounds(self, event_label: str, source: str, recording: Path) -> list[Sound]:
        """The isolated events of a recording. AudioError or CorpusError when it cannot be used."""
        return [
            Sound(event_label, source, str(recording), take, first / self.sample_rate)
            for take, first in enumerate(self._starts(event_label, recording))
        ]

    def _read_starts(self, event_label: str, recording: Path) -> tuple[int, ...]:
        return tuple(first for first, _ in self._isolated(event_label, recording))

    def _read_isolated(self, event_label: str, recording: Path) -> list[tuple[int, Waveform]]:
        """(first sample, samples) of each isolated event."""
        try:
            isolated = self.isolation.isolate(_read_shared(recording, self.sample_rate), self.sample_rate, event_label)
        except ValueError as error:
            raise CorpusError(f"{recording}: {error}; remove it from the soundbank") from None
        for _, waveform in isolated:
            waveform.flags.writeable = False
        return isolated


class RecordedBackgrounds:
    """Excerpts of background recordings; one that is shorter than the scene runs back and forth."""

    is_endless = False

    def __init__(self, sources: Sources, sample_rate: int = SAMPLE_RATE) -> None:
        self._sources = dict(sources)
        self._sample_rate = sample_rate
        self._read = lru_cache(_REMEMBERED_BACKGROUNDS)(lambda recording: _read_shared(recording, sample_rate))
        self._length = cache(lambda recording: len(self._read(recording)))

    def draw(self, rng: np.random.Generator, num_samples: int) -> Sound:
        """Choose a recording and where to start in it."""
        source, recording = _draw_recording(rng, self._sources)
        start = int(rng.integers(max(1, self._length(recording) - num_samples + 1)))
        return Sound(BACKGROUND, source, str(recording), start, start / self._sample_rate)

    def read(self, sound: Sound, num_samples: int) -> Waveform:
        """(num_samples,) of a drawn background."""
        waveform = self._read(Path(sound.recording))[sound.take : sound.take + num_samples]
        return np.pad(waveform, (0, num_samples - len(waveform)), mode="symmetric")

    def recordings(self) -> list[tuple[str, Path]]:
        """(source, recording) of every background, in a fixed order."""
        return [(source, recording) for source, recordings in self._sources.items() for recording in recordings]

    def read_whole(self, recording: Path, num_samples: int) -> Waveform:
        """A whole recording, run back and forth to `num_samples` if it is shorter: a background is a part of it."""
        waveform = self._read(recording)
        if len(waveform) >= num_samples:
            return waveform
        return np.pad(waveform, (0, num_samples - len(waveform)), mode="symmetric")


def group_by_source(recordings: Iterable[Path], source_pattern: str | None) -> dict[str, tuple[Path, ...]]:
    """Recordings -> source -> its recordings, sorted.

    The source is the first group of `source_pattern`, matched at the beginning of the file name without extension; the
    whole of that name when there is no pattern. CorpusError on a name that does not match.
    """
    grouped: dict[str, list[Path]] = {}
    for recording in sorted(recordings):
        grouped.setdefault(source_of(recording, source_pattern), []).append(recording)
    return {source: tuple(paths) for source, paths in sorted(grouped.items())}


def source_of(recording: Path, source_pattern: str | None) -> str:
    """The source of one recording, from its name."""
    if source_pattern is None:
        return recording.stem
    match = re.match(source_pattern, recording.stem)
    if match is None:
        raise CorpusError(
            f"{recording}: the name does not match source_pattern {source_pattern!r}; rename it or correct the pattern"
        )
    return match.group(1)


def check_source_pattern(pattern: str | None) -> str | None:
    """ValueError unless `pattern` is a regular expression with a group (a validator for options)."""
    try:
        if pattern is not None and re.compile(pattern).groups < 1:
            raise ValueError(f"{pattern!r} has no group; put the part that names the source in parentheses")
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from None
    return pattern


def require_root(root: Path | None) -> Path:
    """The soundbank's folder. OptionsError when it was not given, CorpusError when it is not there."""
    if root is None:
        raise OptionsError("soundbank.root is not given; name the soundbank's folder with --set soundbank.root=FOLDER")
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; give the soundbank's folder with --set soundbank.root=FOLDER")
    return root


def list_recordings(folder: Path) -> list[Path]:
    """The files of a folder, without hidden ones. CorpusError when the folder is missing or has none."""
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder")
    recordings = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not recordings:
        raise CorpusError(f"{folder}: holds no recordings; add some or remove the folder")
    return recordings


def _draw_recording(rng: np.random.Generator, sources: Sources) -> tuple[str, Path]:
    names = list(sources)
    source = names[rng.integers(len(names))]
    recordings = sources[source]
    return source, recordings[rng.integers(len(recordings))]


def _read_shared(recording: Path, sample_rate: int) -> Waveform:
    """Decode; read-only, since every scene of the process shares it."""
    waveform = read_waveform(recording, sample_rate)
    waveform.flags.writeable = False
    return waveform
