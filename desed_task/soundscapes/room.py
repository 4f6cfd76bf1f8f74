"""Room response: a scene is heard in a room, every event of it from a place of its own.

A scene draws one decay time RT60 (seconds until the sound has fallen by 60 dB). Each event draws its
direct-to-reverberant ratio (energy of the direct sound over that of everything later: how near it is) and the pattern
of its reflections. The response is the direct sound at sample 0, eight early reflections between 2.5 and 40 ms, and
noise that decays exponentially (Moorer 1979). Or a folder of measured impulse responses is given: a scene draws one of
them, used as it was measured from its direct sound (the largest sample) on; RT60 and ratio are then its own.

The direct sound comes first and undelayed, so no onset moves, and the annotation keeps the offset of the dry event: the
tail rings on after it, as in a real room. The SNR is that of the reverberated event between its onset and its offset.
Backgrounds were recorded in their own rooms and stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field

from desed_task.audio.reading import Waveform, read_waveform
from desed_task.options import Options
from desed_task.soundscapes.ranges import Range, within
from desed_task.soundscapes.recorded import list_recordings

_REFLECTION_TIMES_SECONDS = (0.0025, 0.040)
_NUM_REFLECTIONS = 8
# A reflection is as strong as the diffuse sound of this time, which therefore sets in gradually.
_REFLECTION_SECONDS = 0.002
_DIFFUSE_SECONDS = 0.020
_LARGEST_SEED = 2**31


class RoomOptions(Options):
    """The rooms in which scenes are heard."""

    probability: float = Field(default=1.0, ge=0, le=1, description="Share of the scenes that are heard in a room.")
    rt60_seconds: Annotated[Range, AfterValidator(within(0.05, 10.0, "decay times"))] = Field(
        default=(0.2, 0.8), description="Range of the time in which the sound of a scene's room decays by 60 dB."
    )
    direct_to_reverberant_db: Range = Field(
        default=(0.0, 12.0), description="Range of an event's direct sound over its reverberation."
    )
    impulse_responses: Path | None = Field(
        default=None, description="Folder of measured impulse responses; else they are synthesised."
    )

    def check_files(self) -> None:
        """CorpusError when the folder of impulse responses is missing or empty."""
        if self.impulse_responses is not None:
            list_recordings(self.impulse_responses)

    def read_files(self, sample_rate: int) -> list[tuple[str, int]]:
        """(file name, samples) of every measured impulse response, which are kept. AudioError for one that is bad."""
        recordings = _listed(self.impulse_responses) if self.impulse_responses is not None else []
        return [(recording.name, len(_read_response(str(recording), sample_rate))) for recording in recordings]


@dataclass(frozen=True)
class RoomResponse:
    """How one event is heard: the room's decay, the event's ratio and its reflections; or a measured response."""

    rt60_seconds: float
    direct_to_reverberant_db: float
    seed: int
    recording: str | None = None


class Room:
    """The room of one scene, drawn before its events."""

    def __init__(self, rng: np.random.Generator, options: RoomOptions) -> None:
        self._rng = rng
        self._options = options
        self._is_dry = bool(rng.random() >= options.probability)
        self._rt60_seconds = float(np.exp(rng.uniform(*np.log(options.rt60_seconds))))
        self._recording: str | None = None
        if options.impulse_responses is not None:
            recordings = _listed(options.impulse_responses)
            self._recording = str(recordings[rng.integers(len(recordings))])

    def draw_response(self) -> RoomResponse | None:
        """How the next event is heard; None when the scene is dry."""
        ratio_db = float(self._rng.uniform(*self._options.direct_to_reverberant_db))
        seed = int(self._rng.integers(_LARGEST_SEED))
        return None if self._is_dry else RoomResponse(self._rt60_seconds, ratio_db, seed, self._recording)


def reverberate(waveform: Waveform, response: RoomResponse, sample_rate: int) -> Waveform:
    """(samples,) -> (samples + response - 1,): the dry event and its tail, the onset where it was."""
    impulse_response = build_impulse_response(response, sample_rate)
    num_samples = len(waveform) + len(impulse_response) - 1
    length = 1 << (num_samples - 1).bit_length()
    spectrum = np.fft.rfft(waveform.astype(np.float64), length) * np.fft.rfft(impulse_response, length)
    return np.fft.irfft(spectrum, length)[:num_samples].astype(np.float32)


def build_impulse_response(response: RoomResponse, sample_rate: int) -> Waveform:
    """(samples,), the direct sound being 1 at sample 0. AudioError on a file that cannot be decoded."""
    if response.recording is not None:
        return _read_response(response.recording, sample_rate)
    rng = np.random.default_rng(response.seed)
    times = np.arange(max(2, round(response.rt60_seconds * sample_rate))) / sample_rate
    tail = rng.standard_normal(len(times)) * np.minimum(1.0, times / _DIFFUSE_SECONDS)
    tail[times < _REFLECTION_TIMES_SECONDS[0]] = 0.0
    first, last = np.log(_REFLECTION_TIMES_SECONDS)
    arrivals = np.exp(rng.uniform(first, last, _NUM_REFLECTIONS))
    arrivals = arrivals[arrivals < times[-1]]
    strength = np.sqrt(_REFLECTION_SECONDS * sample_rate)
    np.add.at(tail, np.ceil(arrivals * sample_rate).astype(int), strength * rng.choice([-1.0, 1.0], len(arrivals)))
    tail *= 10 ** (-3.0 * times / response.rt60_seconds)
    tail *= 10 ** (-response.direct_to_reverberant_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    impulse_response: Waveform = tail.astype(np.float32)
    return impulse_response


# A folder is listed once, not once per scene.
_listed = cache(list_recordings)


@cache
def _read_response(recording: str, sample_rate: int) -> Waveform:
    waveform = read_waveform(Path(recording), sample_rate)
    direct = int(np.argmax(np.abs(waveform)))
    measured: Waveform = waveform[direct:] / (waveform[direct] or np.float32(1.0))
    measured.flags.writeable = False
    return measured
