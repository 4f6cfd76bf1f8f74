"""Rendering: a drawn scene becomes a waveform and its annotation.

The background is set to its level; each event is cut, varied, faded, reverberated where the scene has a room, and set
to its SNR over the background (measured from its onset to its offset; a tail after that is not counted). Should the
sum exceed full scale, the whole mixture is scaled down: levels keep their relations and nothing clips.

Scenes whose levels are LUFS are set to them, faded and kept from clipping as Scaper does it: measured before the fades
(a sound under half a second is repeated until it is that long), faded along a quarter of a sine, scaled to a peak of 1.
"""

from __future__ import annotations

import math

import numpy as np

from desed_task.audio.reading import Waveform
from desed_task.events import Event
from desed_task.soundscapes.loudness import measured_loudness, sine_faded
from desed_task.soundscapes.room import reverberate
from desed_task.soundscapes.scene import PlacedEvent, Scene
from desed_task.soundscapes.soundbank import Soundbank
from desed_task.soundscapes.variation import apply_variation

PEAK_LIMIT = 0.98
SCAPER_PEAK_LIMIT = 1.0
# What is fainter counts as silence, which no gain makes audible.
SILENT_RMS = 1e-9


def render_scene(scene: Scene, soundbank: Soundbank) -> tuple[Waveform, list[Event]]:
    """The mixture (samples,) within its peak limit, and its events."""
    background, stems = render_stems(scene, soundbank)
    mixture = background.copy()
    for placed, stem in zip(scene.placed, stems, strict=True):
        mixture[placed.onset_sample : placed.onset_sample + len(stem)] += stem
    peak = float(np.abs(mixture).max())
    limit = PEAK_LIMIT if scene.levels == "rms" else SCAPER_PEAK_LIMIT
    return mixture * np.float32(min(1.0, limit / max(peak, limit))), scene.events()


def render_stems(scene: Scene, soundbank: Soundbank) -> tuple[Waveform, list[Waveform]]:
    """What the mixture is the sum of, before its peak is limited.

    The background (samples,), and for each of `scene.placed` what is heard of it from its onset on.
    """
    background = _at_level(soundbank.backgrounds.read(scene.background, scene.num_samples), scene, 0.0)
    stems = [_render_event(placed, scene, soundbank) for placed in scene.placed]
    return background, stems


def _render_event(placed: PlacedEvent, scene: Scene, soundbank: Soundbank) -> Waveform:
    waveform = soundbank.read_event(placed.sound)[placed.first : placed.first + placed.num_samples]
    varied = apply_variation(waveform, placed.variation, scene.sample_rate)[: placed.heard_samples]
    is_rms = scene.levels == "rms"
    heard = _faded(varied, scene.fade_samples) if is_rms else varied
    if placed.response is not None:
        heard = reverberate(heard, placed.response, scene.sample_rate)[: scene.num_samples - placed.onset_sample]
    at_level = _at_level(heard, scene, placed.snr_db, placed.heard_samples)
    return at_level if is_rms else sine_faded(at_level, scene.fade_samples, scene.fade_samples)


def _at_level(waveform: Waveform, scene: Scene, snr_db: float, num_measured: int | None = None) -> Waveform:
    """The waveform so far over the background, by its first `num_measured` samples; silence stays silence."""
    level_db, measured = scene.background_db + snr_db, waveform[:num_measured]
    if scene.levels == "lufs":
        gain_db = level_db - measured_loudness(measured, scene.sample_rate)
        return waveform * np.float32(10 ** (gain_db / 20)) if math.isfinite(gain_db) else waveform
    rms = float(np.sqrt(np.mean(np.square(measured, dtype=np.float64))))
    return waveform * np.float32(10 ** (level_db / 20) / max(rms, SILENT_RMS))


def _faded(waveform: Waveform, fade_samples: int) -> Waveform:
    """Linear ramps at both ends, each at most a quarter of a short event."""
    length = min(fade_samples, len(waveform) // 4)
    if length == 0:
        return waveform
    ramp = (np.arange(length, dtype=np.float32) + 0.5) / length
    faded = waveform.copy()
    faded[:length] *= ramp
    faded[-length:] *= ramp[::-1]
    return faded
