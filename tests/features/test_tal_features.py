"""The 64-band log-mel of AudioTaggingDoneRight against torchaudio's transforms."""

from __future__ import annotations

import pytest
import torch
from every_frontend import noise
from torchaudio.transforms import MelSpectrogram

from desed_task.errors import OptionsError
from desed_task.features.tal import AUDIOSET_MEAN, AUDIOSET_STD, TAL, TALOptions
from desed_task.options import check_options

WHOLE = TALOptions(target_frames=None)

both_forms = pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])


def reference(waveform: torch.Tensor) -> torch.Tensor:
    """What the published code computes, before its length is fixed: (batch, mel_frames, mel_bands)."""
    transform = MelSpectrogram(
        sample_rate=16000,
        n_fft=4096,
        win_length=1024,
        hop_length=400,
        center=True,
        pad_mode="constant",
        power=2,
        norm="slaney",
        n_mels=64,
        mel_scale="slaney",
    )
    mel = transform(waveform - waveform.mean(dim=1, keepdim=True))
    return 20.0 * torch.log10(mel.clamp(min=1e-10)).transpose(1, 2)


@both_forms
def test_it_equals_torchaudio(exportable: bool) -> None:
    waveform = (noise(2, 37_777) + 0.2) * torch.logspace(0, -3, 37_777)
    frontend, expected = TAL(WHOLE, exportable), reference(waveform)
    heard = frontend.compress(frontend.spectrum(waveform))
    assert heard.shape == expected.shape
    assert (expected > -150.0).float().mean() > 0.5
    assert float((heard - expected)[expected > -150.0].abs().max()) < 1e-3


@both_forms
def test_silence_is_at_200_below_zero(exportable: bool) -> None:
    frontend = TAL(WHOLE, exportable)
    silence = frontend.compress(frontend.spectrum(torch.zeros(1, 8_000)))
    torch.testing.assert_close(silence, torch.full_like(silence, -200.0))


def test_decibel_are_half_of_what_is_published() -> None:
    waveform = noise(1, 16_000)
    published, decibel = TAL(WHOLE), TAL(TALOptions(target_frames=None, log_factor=10))
    spectrum = published.spectrum(waveform)
    torch.testing.assert_close(published.compress(spectrum), 2 * decibel.compress(spectrum))


def test_ten_seconds_lose_a_frame_and_one_second_is_continued_with_zero() -> None:
    ten_seconds, one_second = noise(1, 160_000), noise(1, 16_000)
    assert torch.equal(TAL(TALOptions())(ten_seconds), TAL(WHOLE)(ten_seconds)[:, :400])
    continued = TAL(TALOptions())(one_second)[:, 41:]
    assert continued.shape == (1, 359, 64)
    torch.testing.assert_close(continued, torch.full_like(continued, -AUDIOSET_MEAN / (2 * AUDIOSET_STD)))


@pytest.mark.parametrize(("num_samples", "num_frames"), [(1, 1), (399, 1), (400, 2), (160_000, 401)])
def test_frames_are_40_per_second(num_samples: int, num_frames: int) -> None:
    assert WHOLE.num_frames(num_samples) == num_frames
    assert TALOptions().num_frames(num_samples) == 400


@pytest.mark.parametrize(
    ("tree", "message"), [({"win_length": 5000}, "more than n_fft"), ({"log_factor": 15}, "log_factor")]
)
def test_options_that_cannot_be_are_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        check_options(tree, TALOptions)
