"""Event store: the sounds of one split of a soundbank, as tensors on the device on which scenes are mixed.

What lies on disk is decoded once, all of it when the store is built, so a recording that cannot be used ends the work
before a training begins; on the CPU the store shares the soundbank's memory. What must be prepared (a synthesis, an
excerpt at another speed, stretched or shifted: work of CPU libraries that no device repeats to the last bit) is made on
the host when it is first asked for, and the `capacity` that were used last are kept. Scenes that draw from a bank of no
more takes than that (`soundscapes/takes.py`) have each prepared once; any other scene is mixed all the same, slower.

Waveforms are (samples,) float32 at SAMPLE_RATE: 64 kB per second.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from desed_task.audio.reading import Waveform
from desed_task.data.decoding import in_threads
from desed_task.soundscapes.recorded import RecordedBackgrounds, RecordedSoundbank
from desed_task.soundscapes.scene import PlacedEvent, Scene
from desed_task.soundscapes.soundbank import Sound, Soundbank
from desed_task.soundscapes.variation import Variation, reshape

Item = TypeVar("Item")


class EventStore:
    """The events and backgrounds of a soundbank for scenes of `num_samples`."""

    def __init__(self, soundbank: Soundbank, num_samples: int, capacity: int) -> None:
        """capacity: how many prepared events, and backgrounds, are kept. AudioError, CorpusError: a bad recording."""
        self._soundbank = soundbank
        self._num_samples = num_samples
        self._recorded = cache(self._read_recorded)
        self._recorded_background = cache(self._read_recorded_background)
        self._prepared = lru_cache(capacity)(self._prepare)
        self._made_background = lru_cache(capacity)(self._make_background)
        self.contents = self._decode()

    def event(self, placed: PlacedEvent, device: torch.device) -> Tensor:
        """(samples,) of an event at its speed, stretched and shifted, before its spectrum and level change.

        Not to be written to.
        """
        varied = placed.variation
        if not (self._soundbank.is_endless or varied.reshapes):
            return self._recorded(placed.sound, device)[placed.first : placed.first + placed.num_samples]
        shape = (varied.speed, varied.time_stretch, varied.pitch_semitones)
        return self._prepared(placed.sound, placed.first, placed.num_samples, shape, device)

    def background(self, sound: Sound, device: torch.device) -> Tensor:
        """(num_samples,) of a background. Not to be written to."""
        if isinstance(self._soundbank.backgrounds, RecordedBackgrounds):
            return self._recorded_background(sound.recording, device)[sound.take : sound.take + self._num_samples]
        return self._made_background(sound, device)

    def prepare(self, scene: Scene, device: torch.device) -> None:
        """Make ready what a scene needs, while the soundbank remembers what was drawn."""
        self.background(scene.background, device)
        for placed in scene.placed:
            self.event(placed, device)

    def _decode(self) -> list[tuple[str, str, str, int]]:
        """Decode everything that lies on disk: (class, source, file name, samples) of each event and background."""
        contents = []
        bank, backgrounds = self._soundbank, self._soundbank.backgrounds
        if isinstance(bank, RecordedSoundbank):
            listed = bank.recordings()
            for sounds in _shown(in_threads(lambda recording: bank.sounds(*recording), listed), len(listed), "events"):
                contents += [(*_name(sound), len(bank.read_event(sound))) for sound in sounds]
        if isinstance(backgrounds, RecordedBackgrounds):
            rooms = backgrounds.recordings()
            whole = in_threads(lambda room: backgrounds.read_whole(room[1], self._num_samples), rooms)
            for (source, recording), waveform in zip(rooms, _shown(whole, len(rooms), "backgrounds"), strict=True):
                contents.append(("", source, recording.name, len(waveform)))
        return contents

    def _read_recorded(self, sound: Sound, device: torch.device) -> Tensor:
        return _sent(self._soundbank.read_event(sound), device)

    def _read_recorded_background(self, recording: str, device: torch.device) -> Tensor:
        backgrounds = self._soundbank.backgrounds
        assert isinstance(backgrounds, RecordedBackgrounds)
        return _sent(backgrounds.read_whole(Path(recording), self._num_samples), device)

    def _prepare(
        self, sound: Sound, first: int, num_samples: int, shape: tuple[float, float, float], device: torch.device
    ) -> Tensor:
        speed, time_stretch, pitch_semitones = shape
        variation = Variation(speed=speed, time_stretch=time_stretch, pitch_semitones=pitch_semitones)
        excerpt = self._soundbank.read_event(sound)[first : first + num_samples]
        # A copy, so that the store does not keep the whole sound of which this is a part.
        return _sent(reshape(excerpt, variation).copy(), device)

    def _make_background(self, sound: Sound, device: torch.device) -> Tensor:
        return _sent(self._soundbank.backgrounds.read(sound, self._num_samples), device)


def _sent(waveform: Waveform, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # What soundbanks give may not be written to, of which torch warns; nobody does.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        on_host = torch.from_numpy(waveform)
    return on_host.to(device)


def _name(sound: Sound) -> tuple[str, str, str]:
    return sound.event_label, sound.source, Path(sound.recording).name


def _shown(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    yield from tqdm(items, total=total, desc=f"decoding {what}", unit="file", disable=None)
