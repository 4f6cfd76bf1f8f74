"""Scenes that Scaper described (Salamon et al. 2017), rendered from their soundbank by Scaper's own rules.

An event is the part [source_time, source_time + event_duration) of its file, resampled, shifted in pitch, stretched to
`time_stretch` times its length, set to ref_db + snr in LUFS (a sound under half a second is repeated until it is that
long before it is measured), then faded in and out along a quarter of a sine, and added from its onset on. The ends of
an excerpt and the onset are rounded down to samples. The background is repeated to the length of the scene and set to
ref_db. A mixture beyond full scale is scaled down where its file asks for that, to a peak of 1 (of 0.98 where the scene
is ours and its levels are RMS).

A reverb is laid over the whole mixture. Compared with audio of Scaper 1.6.5, what is neither stretched nor shifted
agrees to the rounding of PCM 16. What cannot be the same: Scaper stretches and shifts with SoX, we with Signalsmith
Stretch, so those waveforms differ, and only their times and levels agree. `desed_task.formats.jams` reads and writes
these scenes; where the levels of ours are RMS (`level_measure`), events are faded before they are set to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Literal

import numpy as np
from tqdm import tqdm

from desed_task.audio.reading import Waveform, check_header, read_waveform, resample, write_waveform
from desed_task.errors import CorpusError
from desed_task.events import Event, merge_close_events
from desed_task.soundscapes.files import AudioFormat
from desed_task.soundscapes.freeverb import add_reverb
from desed_task.soundscapes.loudness import measured_loudness, sine_faded
from desed_task.soundscapes.processes import mapping_over
from desed_task.soundscapes.stretch import stretch

Role = Literal["foreground", "background"]
LevelMeasure = Literal["lufs", "rms"]

# One folder in which source files are found, or several, of which the first that has a file gives it.
Soundbanks = Path | Sequence[Path]
# A product that is a whole number but for this stays one when it is rounded down.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ScaperEvent:
    """One sound of a scene: seconds, decibels over the reference, semitones; `duration` is what is heard."""

    event_label: str
    source_file: str
    source_time: float
    onset: float
    duration: float
    event_duration: float
    snr_db: float
    role: Role
    pitch_semitones: float = 0.0
    time_stretch: float = 1.0


@dataclass(frozen=True)
class ScaperScene:
    """What one JAMS file describes. whole_samples: its times are those of samples, as ours are; Scaper rounds down."""

    duration: float
    sample_rate: int
    ref_db: float
    placed: tuple[ScaperEvent, ...]
    fade_in_seconds: float = 0.01
    fade_out_seconds: float = 0.01
    reverb: float | None = None
    level_measure: LevelMeasure = "lufs"
    min_event_seconds: float = 0.0
    same_class_gap_seconds: float | None = None
    peak_limit: float | None = None
    whole_samples: bool = False

    @property
    def num_samples(self) -> int:
        """Length of the rendered scene."""
        return round(self.duration * self.sample_rate)

    def sample_at(self, seconds: float, sample_rate: int) -> int:
        """The sample that a time falls on."""
        return math.floor(seconds * sample_rate + (_ROUNDING if self.whole_samples else 0.0))

    def events(self) -> list[Event]:
        """The annotation, sorted by onset: the foreground, by the rules of whoever drew the scene."""
        events = []
        for placed in self.placed:
            if placed.role == "foreground":
                length = max(placed.duration, self.min_event_seconds)
                onset = max(0.0, min(placed.onset, self.duration - length)) if self.min_event_seconds else placed.onset
                events.append(Event(onset, onset + length, placed.event_label))
        gap = self.same_class_gap_seconds
        return sorted(events) if gap is None else merge_close_events(events, gap)

    def sources(self) -> list[tuple[str, str]]:
        """(class or "background", file name) of everything that is heard, sorted, each once."""
        return sorted(
            {
                (placed.event_label if placed.role == "foreground" else "background", Path(placed.source_file).name)
                for placed in self.placed
            }
        )

    @property
    def stretches(self) -> bool:
        """Whether any of its sounds is stretched or shifted."""
        return any(placed.time_stretch != 1.0 or placed.pitch_semitones != 0.0 for placed in self.placed)


def render_scaper_scenes(
    scenes: Mapping[str, ScaperScene],
    soundbank: Soundbanks,
    audio_folder: Path,
    num_jobs: int,
    audio_format: AudioFormat = "wav",
) -> None:
    """Write <audio_id>.<format> of every scene that is not there yet, each at its own rate."""
    audio_folder.mkdir(parents=True, exist_ok=True)
    missing = [item for item in scenes.items() if not (audio_folder / f"{item[0]}.{audio_format}").is_file()]
    with mapping_over(min(num_jobs, len(missing))) as map_in_order:
        rendered = map_in_order(partial(_write_scene, soundbank, audio_folder, audio_format), missing)
        for _ in tqdm(rendered, total=len(missing), desc="rendering", unit="scene", disable=None):
            pass


def render_scaper_scene(scene: ScaperScene, soundbank: Soundbanks) -> Waveform:
    """(samples,) of a scene, whose files are found in `soundbank`. CorpusError or AudioError where one is not."""
    mixture = np.zeros(scene.num_samples, dtype=np.float32)
    for placed in scene.placed:
        if placed.role == "background":
            mixture += render_background(placed, scene, soundbank)
        else:
            first = scene.sample_at(placed.onset, scene.sample_rate)
            heard = render_event(placed, scene, soundbank)[: len(mixture) - first]
            mixture[first : first + len(heard)] += heard
    peak = float(np.abs(mixture).max(initial=0.0))
    if scene.peak_limit is not None and peak > scene.peak_limit:
        mixture *= np.float32(scene.peak_limit / peak)
    return mixture if scene.reverb is None else add_reverb(mixture, scene.sample_rate, scene.reverb)


def render_event(placed: ScaperEvent, scene: ScaperScene, soundbank: Soundbanks) -> Waveform:
    """What is heard of one event from its onset on."""
    waveform = _read_excerpt(placed, scene, soundbank)
    num_samples = max(1, round(len(waveform) * placed.time_stretch))
    changed = stretch(waveform, scene.sample_rate, placed.time_stretch, placed.pitch_semitones, num_samples)
    if scene.level_measure == "rms":
        return _at_level(_faded(changed, scene), placed.snr_db, scene)
    return _faded(_at_level(changed, placed.snr_db, scene), scene)


def render_background(placed: ScaperEvent, scene: ScaperScene, soundbank: Soundbanks) -> Waveform:
    """(samples of the scene,) of its background."""
    waveform = _read_excerpt(placed, scene, soundbank)
    repeated = np.tile(waveform, -(-scene.num_samples // len(waveform)))[: scene.num_samples]
    return _at_level(repeated, placed.snr_db, scene)


def find_source(placed: ScaperEvent, soundbank: Soundbanks, name: str = "the scene") -> Path:
    """The file of a sound: as it is named, or by as much of the end of its path as one of the folders has. CorpusError.

    The end is not shorter than <label>/<file name>, which may lie in Scaper's foreground/ or background/.
    """
    source = PurePath(placed.source_file)
    ends = [PurePath(*source.parts[first:]) for first in range(1, len(source.parts) - 1)]
    by_label = PurePath(placed.event_label, source.name)
    in_roles = [PurePath(*folder, placed.role) / by_label for folder in ((), ("soundbank",))]
    folders = (soundbank,) if isinstance(soundbank, Path) else soundbank
    for folder in folders:
        for candidate in (source, *ends, *in_roles, by_label):
            if (folder / candidate).is_file():
                return folder / candidate
    raise CorpusError(
        f"{name}: {placed.source_file} ({placed.event_label}) is not in {' or '.join(map(str, folders))}; "
        f"give the folder that it is relative to with --soundbank (a synthesised sound has no file)"
    )


def _write_scene(
    soundbank: Soundbanks, audio_folder: Path, audio_format: AudioFormat, item: tuple[str, ScaperScene]
) -> None:
    audio_id, scene = item
    path = audio_folder / f"{audio_id}.{audio_format}"
    write_waveform(path, render_scaper_scene(scene, soundbank), scene.sample_rate)


def _read_excerpt(placed: ScaperEvent, scene: ScaperScene, soundbank: Soundbanks) -> Waveform:
    """Cut at the file's own rate, then resampled, as Scaper does."""
    path = find_source(placed, soundbank)
    rate = check_header(path).sample_rate
    first = scene.sample_at(placed.source_time, rate)
    last = scene.sample_at(placed.source_time + placed.event_duration, rate)
    excerpt = read_waveform(path, rate)[first:last]
    if not len(excerpt):
        raise CorpusError(f"{path}: ends before source_time {placed.source_time:g} s; it is not the file of the JAMS")
    return resample(excerpt, rate, scene.sample_rate)


def _faded(waveform: Waveform, scene: ScaperScene) -> Waveform:
    fades = (scene.fade_in_seconds, scene.fade_out_seconds)
    return sine_faded(waveform, *(scene.sample_at(seconds, scene.sample_rate) for seconds in fades))


def _at_level(waveform: Waveform, snr_db: float, scene: ScaperScene) -> Waveform:
    """The waveform at ref_db + snr; silence stays silence."""
    level_db = measured_level(waveform, scene.sample_rate, scene.level_measure)
    gain_db = scene.ref_db + snr_db - level_db
    return waveform * np.float32(10 ** (gain_db / 20)) if math.isfinite(gain_db) else waveform


def measured_level(waveform: Waveform, sample_rate: int, measure: LevelMeasure) -> float:
    """LUFS as Scaper measures them, or RMS in decibels relative to full scale; -inf for silence."""
    if measure == "rms":
        power = float(np.mean(np.square(waveform, dtype=np.float64)))
        return 10 * math.log10(power) if power else -math.inf
    return measured_loudness(waveform, sample_rate)
