"""The front-ends of the FSD50K baselines against torchaudio's transforms, and the published figures of a sine."""

from __future__ import annotations

import pytest
import torch
from every_frontend import figures, noise, sine
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram, Spectrogram

from desed_task.errors import OptionsError
from desed_task.features.fsd50k import FSD50KMel, FSD50KMelOptions, FSD50KSpectrogram, FSD50KSpectrogramOptions
from desed_task.options import check_options

both_forms = pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])


def falling(batch: int, num_samples: int) -> torch.Tensor:
    """Noise that falls by 100 dB over the clip, so that its end lies below the limit."""
    return 5 * noise(batch, num_samples) * torch.logspace(0, -5, num_samples)


@both_forms
def test_mel_equals_torchaudio(exportable: bool) -> None:
    waveform = falling(2, 37_777)
    mel = MelSpectrogram(sample_rate=22050, n_fft=1920, win_length=661, hop_length=220, n_mels=96)(waveform)
    # One clip at a time: the limit is each clip's own.
    decibel = torch.stack([AmplitudeToDB("power", top_db=80.0)(clip) for clip in mel]).transpose(1, 2)
    expected = decibel - decibel.mean(dim=(1, 2), keepdim=True)
    assert (decibel == decibel.amin(dim=(1, 2), keepdim=True)).float().mean() > 0.1
    heard = FSD50KMel(FSD50KMelOptions(), exportable)(waveform)
    torch.testing.assert_close(heard, expected, rtol=0, atol=2e-4)


@both_forms
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_spectrogram_equals_torchaudio(pad_mode: str, exportable: bool) -> None:
    waveform = noise(2, 37_777)
    magnitudes = Spectrogram(n_fft=441, hop_length=220, power=1, pad_mode=pad_mode)(waveform)
    decibel = 20.0 * torch.log10(magnitudes.clamp(min=1e-5)).transpose(1, 2)
    expected = decibel - decibel.mean(dim=(1, 2), keepdim=True)
    options = check_options({"pad_mode": pad_mode}, FSD50KSpectrogramOptions)
    heard = FSD50KSpectrogram(options, exportable)(waveform)
    audible = expected > expected.amax() - 30.0
    assert audible.float().mean() > 0.5
    assert float((heard - expected)[audible].abs().max()) < 1e-4


@both_forms
def test_the_published_figures_of_a_sine_in_mel(exportable: bool) -> None:
    frontend = FSD50KMel(FSD50KMelOptions(), exportable)
    decibel = frontend.compress(frontend.spectrum(sine(22050, 1)))
    assert decibel.shape == (1, 101, 96)
    assert figures(decibel) == pytest.approx([-31.15777, 17.25771, -38.19736, 41.80264], abs=1e-3)
    assert float(frontend.normalise(decibel).mean()) == pytest.approx(0.0, abs=1e-4)


@both_forms
def test_the_published_figures_of_a_sine_in_the_spectrogram(exportable: bool) -> None:
    frontend = FSD50KSpectrogram(FSD50KSpectrogramOptions(), exportable)
    decibel = frontend.compress(frontend.spectrum(sine(22050, 1)))
    assert decibel.shape == (1, 101, 221)
    mean, deviation, _, highest = figures(decibel)
    assert [mean, deviation, highest] == pytest.approx([-96.51265, 19.32021, 34.82697], abs=1e-3)


def test_spectrograms_of_five_and_ten_seconds() -> None:
    assert FSD50KSpectrogramOptions().num_frames(5 * 22050) == 502
    assert FSD50KSpectrogramOptions().num_frames(10 * 22050) == 1003


def test_the_limit_is_each_clips_own() -> None:
    frontend = FSD50KMel(FSD50KMelOptions(top_db=20.0))
    clips = torch.cat([falling(1, 22_050), 1e-3 * falling(1, 22_050)])
    decibel = frontend.compress(frontend.spectrum(clips))
    for clip in decibel:
        assert float(clip.max() - clip.min()) == pytest.approx(20.0, abs=1e-4)


@pytest.mark.parametrize("frontend", [FSD50KMel(FSD50KMelOptions()), FSD50KSpectrogram(FSD50KSpectrogramOptions())])
def test_a_clips_level_is_not_heard(frontend: torch.nn.Module) -> None:
    waveform = noise(1, 11_025)
    torch.testing.assert_close(frontend(0.25 * waveform), frontend(waveform), rtol=0, atol=1e-4)


@pytest.mark.parametrize("frontend", [FSD50KMel(FSD50KMelOptions()), FSD50KSpectrogram(FSD50KSpectrogramOptions())])
def test_silence_is_zero(frontend: torch.nn.Module) -> None:
    assert not frontend(torch.zeros(1, 22_050)).any()


def test_a_window_longer_than_its_transform_is_refused() -> None:
    for options in (FSD50KMelOptions, FSD50KSpectrogramOptions):
        with pytest.raises(OptionsError, match="more than n_fft"):
            check_options({"win_length": 4000}, options)
