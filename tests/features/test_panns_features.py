"""The log-mel of PANNs against torchaudio's transforms, and against the published figures of a sine."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from every_frontend import figures, noise, sine
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from desed_task.errors import OptionsError
from desed_task.features.panns import PANNs, PANNsOptions
from desed_task.options import check_options

both_forms = pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])


def published_mel(n_fft: int, hop_length: int, f_max: float, sample_rate: int) -> MelSpectrogram:
    return MelSpectrogram(
        sample_rate, n_fft, hop_length=hop_length, f_min=50.0, f_max=f_max, n_mels=64, norm="slaney", mel_scale="slaney"
    )


@both_forms
@pytest.mark.parametrize(
    ("rate", "n_fft", "hop_length", "f_max"), [(8000, 256, 80, 4e3), (16000, 512, 160, 8e3), (32000, 1024, 320, 14e3)]
)
def test_it_equals_torchaudio(
    rate: Literal[8000, 16000, 32000], n_fft: int, hop_length: int, f_max: float, exportable: bool
) -> None:
    waveform = noise(2, 37_777) * torch.logspace(0, -3, 37_777)
    expected = AmplitudeToDB("power")(published_mel(n_fft, hop_length, f_max, rate)(waveform)).transpose(1, 2)
    heard = PANNs(PANNsOptions(sample_rate=rate), exportable)(waveform)
    assert heard.shape == expected.shape
    assert float((heard - expected)[expected > -90.0].abs().max()) < 1e-4
    assert (expected > -90.0).float().mean() > 0.5


@both_forms
def test_the_published_figures_of_a_sine_at_16_khz(exportable: bool) -> None:
    heard = PANNs(PANNsOptions(sample_rate=16000), exportable)(sine(16000, 10))
    assert heard.shape == (1, 1001, 64)
    assert figures(heard) == pytest.approx([-94.31232, 24.73537, -100.0, 19.28073], abs=1e-3)
    assert heard.mean(dim=(0, 1)).argmax() == 20


@both_forms
def test_the_published_figures_of_a_sine_at_32_khz(exportable: bool) -> None:
    heard = PANNs(PANNsOptions(), exportable)(sine(32000, 10))
    assert heard.shape == (1, 1001, 64)
    mean, deviation, _, highest = figures(heard)
    assert [mean, deviation, highest] == pytest.approx([-94.12315, 25.59694, 23.66520], abs=1e-3)


def test_the_bands_are_those_of_the_published_checkpoints() -> None:
    weights = PANNs(PANNsOptions(sample_rate=16000)).bands.bands.weights
    assert isinstance(weights, torch.Tensor)
    assert weights.shape == (257, 64)
    assert float(weights.double().sum()) == pytest.approx(2.04934788, abs=1e-6)
    assert float(weights.max()) == pytest.approx(0.02162881, abs=1e-7)


@both_forms
def test_silence_is_at_100_db_below_one(exportable: bool) -> None:
    silence = PANNs(PANNsOptions(sample_rate=16000), exportable)(torch.zeros(1, 8_000))
    torch.testing.assert_close(silence, torch.full_like(silence, -100.0))


@pytest.mark.parametrize("rate", [8000, 16000, 32000])
def test_every_rate_gives_100_mel_frames_per_second(rate: Literal[8000, 16000, 32000]) -> None:
    assert PANNsOptions(sample_rate=rate).num_frames(10 * rate) == 1001


def test_other_rates_are_refused() -> None:
    with pytest.raises(OptionsError, match="sample_rate"):
        check_options({"sample_rate": 44100}, PANNsOptions)
