"""Event store: the sounds of one split of a soundbank, as tensors on the device on which scenes are mixed.

What lies on disk is decoded once, all of it when the store is built, so a recording that cannot be used ends the work
before a training begins; on the CPU the store shares the soundbank's memory. What must be prepared (a synthesis, an
excerpt at another speed, stretched or shifted: work of CPU libraries that no device repeats to the last bit) is made on
the host when it is first asked for, and the `capacity` that were used last are kept. Scenes that draw from a bank of no
more takes than that (`soundscapes/takes.py`) have each prepared once; any other scene is mixed all the same, slower.

Waveforms are (samples,) float32 at the soundbank's rate: 64 kB per second at 16 kHz.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
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
from desed_task.soundscapes.soundbank import BACKGROUND, Sound, Soundbank
from desed_task.soundscapes.variation import Variation, reshape

Item = TypeVar("Item")


class EventStore:
    """The backgrounds of a soundbank, and its events of the classes `labels`, for scenes of `num_samples`."""

    def __init__(self, soundbank: Soundbank, labels: Collection[str], num_samples: int, capacity: int) -> None:
        """capacity: how many prepared events, and backgrounds, are kept. AudioError, CorpusError: a bad recording."""
        self._soundbank = soundbank
        self.sample_rate = soundbank.sample_rate
        self._labels = labels
        self._num_samples = num_samples
        self._sounds: dict[Sound, Tensor] = {}
        self._rooms: dict[str, Tensor] = {}
        self._sound_on = cache(lambda sound, device: self._sounds[sound].to(device))
        self._room_on = cache(lambda recording, device: self._rooms[recording].to(device))
        self._prepared = lru_cache(capacity)(self._prepare)
        self._made_background = lru_cache(capacity)(self._make_background)
        self.contents = self._decode()

    def event(self, placed: PlacedEvent, device: torch.device) -> Tensor:
        """(samples,) of an event at its speed, stretched and shifted, before its spectrum and level change.

        Not to be written to.
        """
        varied = placed.variation
        if not (self._soundbank.is_endless or varied.reshapes):
            sound: Tensor = self._sound_on(placed.sound, device)
            return sound[placed.first : placed.first + placed.num_samples]
        shape = (varied.speed, varied.time_stretch, varied.pitch_semitones)
        return self._prepared(placed.sound, placed.first, placed.num_samples, shape, device)

    def background(self, sound: Sound, device: torch.device) -> Tensor:
        """(num_samples,) of a background. Not to be written to."""
        if isinstance(self._soundbank.backgrounds, RecordedBackgrounds):
            room: Tensor = self._room_on(sound.recording, device)
            return room[sound.take : sound.take + self._num_samples]
        return self._made_background(sound, device)

    def prepare(self, scene: Scene, device: torch.device) -> None:
        """Make ready what a scene needs, while the soundbank remembers what was drawn."""
        self.background(scene.background, device)
        for placed in scene.placed:
            self.event(placed, device)

    def _decode(self) -> list[tuple[str, str, str, int]]:
        """Decode all on disk that can be heard: (class, source, file name, samples) of each event and background."""
        contents = []
        bank, backgrounds = self._soundbank, self._soundbank.backgrounds
        if isinstance(bank, RecordedSoundbank):
            listed = [recording for recording in bank.recordings() if recording[0] in self._labels]
            for sounds in _shown(in_threads(lambda recording: bank.sounds(*recording), listed), len(listed), "events"):
                for sound in sounds:
                    self._sounds[sound] = _shared(bank.read_event(sound))
                    name = Path(sound.recording).name
                    contents.append((sound.event_label, sound.source, name, len(self._sounds[sound])))
        if isinstance(backgrounds, RecordedBackgrounds):
            rooms = backgrounds.recordings()
            whole = in_threads(lambda room: backgrounds.read_whole(room[1], self._num_samples), rooms)
            for (source, recording), waveform in zip(rooms, _shown(whole, len(rooms), "backgrounds"), strict=True):
                self._rooms[str(recording)] = _shared(waveform)
                contents.append((BACKGROUND, source, recording.name, len(waveform)))
        return contents

    def _prepare(
        self, sound: Sound, first: int, num_samples: int, shape: tuple[float, float, float], device: torch.device
    ) -> Tensor:
        speed, time_stretch, pitch_semitones = shape
        variation = Variation(speed=speed, time_stretch=time_stretch, pitch_semitones=pitch_semitones)
        excerpt = self._soundbank.read_event(sound)[first : first + num_samples]
        # A copy, so that the store does not keep the whole sound of which this is a part.
        return torch.from_numpy(reshape(excerpt, variation, self.sample_rate).copy()).to(device)

    def _make_background(self, sound: Sound, device: torch.device) -> Tensor:
        return torch.from_numpy(self._soundbank.backgrounds.read(sound, self._num_samples)).to(device)


def _shared(waveform: Waveform) -> Tensor:
    """The same memory."""
    with warnings.catch_warnings():
        # What soundbanks give may not be written to, of which torch warns; nobody does.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(waveform)


def _shown(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    yield from tqdm(items, total=total, desc=f"decoding {what}", unit="file", disable=None)
