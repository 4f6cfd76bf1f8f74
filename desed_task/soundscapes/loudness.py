"""Loudness: how loud a sound is in LUFS, by ITU-R BS.1770-4, which Scaper sets its levels by; and Scaper's fades.

K-weighting (a shelf that raises what lies above 1.5 kHz by 4 dB, and a high-pass at 38 Hz), mean square of blocks of
400 ms that start every 100 ms, an absolute gate at -70 LUFS and a relative one 10 LU below the mean of what passes it.

The two filters are second-order prototypes under the bilinear transform, with the rounded parameters that pyloudnorm
(Steinmetz & Reiss 2021) and therefore Scaper use; they are applied in the frequency domain. Ours and pyloudnorm's
values agree to 1e-6 LU; the standard's own coefficients at 48 kHz give up to 0.05 LU other values.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform

_SHELF_HERTZ, _SHELF_DB, _SHELF_Q = 1500.0, 4.0, 1 / math.sqrt(2)
_HIGH_PASS_HERTZ, _HIGH_PASS_Q = 38.0, 0.5
# The high-pass rings for some 20 ms; the padding keeps its end from reaching round to the beginning.
_PADDING_SECONDS = 0.5
_BLOCK_SECONDS, _STEP = 0.400, 0.25
_OFFSET_DB = -0.691
_SHORTEST_MEASURED_SECONDS = 0.5
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, 10.0


def integrated_loudness(waveform: Waveform, sample_rate: int) -> float:
    """LUFS of (samples,) of at least 0.4 s; -inf when no block passes the gates."""
    power = _block_power(_k_weighted(waveform, sample_rate), sample_rate)
    above = power[_lufs(power) >= _ABSOLUTE_GATE]
    if not len(above):
        return -math.inf
    return float(_lufs(above[_lufs(above) > _lufs(above.mean()) - _RELATIVE_GATE].mean()))


def measured_loudness(waveform: Waveform, sample_rate: int) -> float:
    """LUFS as Scaper measures them: what is shorter than half a second is repeated until it is that long."""
    shortest = _SHORTEST_MEASURED_SECONDS * sample_rate
    repeats = math.ceil(shortest / len(waveform)) if len(waveform) < shortest else 1
    return integrated_loudness(np.tile(waveform, repeats), sample_rate)


def sine_faded(waveform: Waveform, fade_in: int, fade_out: int) -> Waveform:
    """(samples,) that comes and goes along a quarter of a sine, of so many samples each."""
    faded = waveform.copy()
    fade_in, fade_out = min(len(faded), fade_in), min(len(faded), fade_out)
    faded[:fade_in] *= np.sin(np.linspace(0, np.pi / 2, fade_in, dtype=np.float32))
    faded[len(faded) - fade_out :] *= np.sin(np.linspace(np.pi / 2, 0, fade_out, dtype=np.float32))
    return faded


def _k_weighted(waveform: Waveform, sample_rate: int) -> NDArray[np.float64]:
    length = len(waveform) + round(_PADDING_SECONDS * sample_rate)
    hertz = np.arange(length // 2 + 1, dtype=np.float64) * (sample_rate / length)
    response = _k_response(hertz, sample_rate)
    return np.fft.irfft(np.fft.rfft(waveform.astype(np.float64), length) * response, length)[: len(waveform)]


def _k_response(hertz: NDArray[np.float64], sample_rate: int) -> NDArray[np.complex128]:
    """The two filters at each frequency; `s` is that of the analogue prototype, 1j at the filter's own frequency."""

    def prototype(own_hertz: float) -> NDArray[np.complex128]:
        return 1j * np.tan(np.pi * hertz / sample_rate) / math.tan(math.pi * own_hertz / sample_rate)

    gain = 10 ** (_SHELF_DB / 40)
    s, slope = prototype(_SHELF_HERTZ), math.sqrt(gain) / _SHELF_Q
    shelf = gain * (gain * s**2 + slope * s + 1) / (s**2 + slope * s + gain)
    s = prototype(_HIGH_PASS_HERTZ)
    return np.asarray(shelf * s**2 / (s**2 + s / _HIGH_PASS_Q + 1))


def _block_power(weighted: NDArray[np.float64], sample_rate: int) -> NDArray[np.float64]:
    """(blocks,) mean squares; the last block may reach a little beyond the end, as in pyloudnorm."""
    seconds = len(weighted) / sample_rate
    num_blocks = max(1, round((seconds - _BLOCK_SECONDS) / (_BLOCK_SECONDS * _STEP)) + 1)
    starts = [int(_BLOCK_SECONDS * _STEP * block * sample_rate) for block in range(num_blocks)]
    stops = [int(_BLOCK_SECONDS * (_STEP * block + 1) * sample_rate) for block in range(num_blocks)]
    energies = [np.sum(weighted[start:stop] ** 2) for start, stop in zip(starts, stops, strict=True)]
    return np.array(energies) / (_BLOCK_SECONDS * sample_rate)


def _lufs(power: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.asarray(_OFFSET_DB + 10 * np.log10(power))
