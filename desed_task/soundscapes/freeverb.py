"""The reverb of SoX, which Scaper lays over whole scenes: Freeverb (Jezar, 2000, public domain), as SoX drives it.

Eight low-passed feedback combs side by side, then four all-passes in a row; a second channel has slightly longer delay
lines, and a mono scene hears the mean of both. Since the whole is linear, its impulse response is computed once and the
scene convolved with it. On the reverberated example of Scaper 1.6.5 the background agrees to the last bit of PCM 16.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform

_TUNED_HERTZ = 44_100
_COMB_SAMPLES = (1116, 1188, 1277, 1356, 1422, 1491, 1557, 1617)
_ALLPASS_SAMPLES = (225, 341, 441, 556)
_SPREAD_SAMPLES = 12
_WET_GAIN = 0.015
_ALLPASS_FEEDBACK = 0.5
# SoX's default of 50 % damping.
_DAMPING = 0.5 * 0.3 + 0.2
# SoX maps a reverberance of 0 % to a feedback of 0.3 and one of 100 % to 0.98.
_LOWEST_FEEDBACK, _HIGHEST_FEEDBACK = 0.3, 0.98


def add_reverb(mixture: Waveform, sample_rate: int, reverb: float) -> Waveform:
    """(samples,) -> (samples,): the scene and its reverberation; `reverb` in [0, 1] as in Scaper."""
    response = _impulse_response(sample_rate, reverb, len(mixture))
    length = 1 << (2 * len(mixture) - 1).bit_length()
    spectrum = np.fft.rfft(mixture.astype(np.float64), length) * (1 + np.fft.rfft(response, length))
    wet: Waveform = np.fft.irfft(spectrum, length)[: len(mixture)].astype(np.float32)
    return wet


@cache
def _impulse_response(sample_rate: int, reverb: float, num_samples: int) -> NDArray[np.float64]:
    ratio = math.log(1 - _HIGHEST_FEEDBACK) / math.log(1 - _LOWEST_FEEDBACK)
    feedback = 1 - (1 - _LOWEST_FEEDBACK) ** (1 + reverb * (ratio - 1))
    left, right = (_channel(sample_rate, feedback, spread, num_samples) for spread in (0, 1))
    return _WET_GAIN * (left + right) / 2


def _channel(sample_rate: int, feedback: float, spread: int, num_samples: int) -> NDArray[np.float64]:
    click = [1.0] + [0.0] * (num_samples - 1)
    combs = [_comb(click, delay, feedback) for delay in _delays(_COMB_SAMPLES, sample_rate, spread)]
    signal = np.sum(combs, axis=0).tolist()
    for delay in _delays(_ALLPASS_SAMPLES, sample_rate, spread):
        signal = _allpass(signal, delay)
    return np.array(signal)


def _delays(tuned: tuple[int, ...], sample_rate: int, spread: int) -> list[int]:
    """Delay lines in samples: those of the second channel are longer and shorter in turn."""
    signs = [spread if position % 2 == 0 else -spread for position in range(len(tuned))]
    scale = sample_rate / _TUNED_HERTZ
    return [int(scale * (delay + _SPREAD_SAMPLES * sign) + 0.5) for delay, sign in zip(tuned, signs, strict=True)]


def _comb(signal: list[float], delay: int, feedback: float) -> list[float]:
    line, damped, output = [0.0] * delay, 0.0, []
    for index, sample in enumerate(signal):
        delayed = line[index % delay]
        damped = delayed + (damped - delayed) * _DAMPING
        line[index % delay] = sample + damped * feedback
        output.append(delayed)
    return output


def _allpass(signal: list[float], delay: int) -> list[float]:
    line, output = [0.0] * delay, []
    for index, sample in enumerate(signal):
        delayed = line[index % delay]
        line[index % delay] = sample + delayed * _ALLPASS_FEEDBACK
        output.append(delayed - sample)
    return output
