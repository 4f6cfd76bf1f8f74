"""The log-mel of EfficientAT against torch's STFT and torchaudio's triangles, and the published figures of a sine."""

from __future__ import annotations

import pytest
import torch
from every_frontend import figures, noise, sine
from torch.nn import functional
from torchaudio.compliance.kaldi import get_mel_banks

from desed_task.errors import OptionsError
from desed_task.features.efficientat import EfficientAT, EfficientATOptions
from desed_task.options import check_options

both_forms = pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])


def reference(waveform: torch.Tensor, hop_length: int, n_mels: int) -> torch.Tensor:
    """What the published code hears in evaluation: (batch, mel_frames, mel_bands)."""
    emphasised = functional.conv1d(waveform[:, None], torch.tensor([[[-0.97, 1.0]]]))[:, 0]
    window = torch.hann_window(800, periodic=False)
    bins = torch.stft(emphasised, 1024, hop_length, 800, window=window, center=True, return_complex=True)
    triangles = get_mel_banks(n_mels, 1024, 32000, 0.0, 15000.0, 100.0, -500.0, 1.0)[0]
    mel = functional.pad(triangles, (0, 1)) @ bins.abs().square()
    return (((mel + 0.00001).log() + 4.5) / 5.0).transpose(1, 2)


@both_forms
@pytest.mark.parametrize(("hop_length", "n_mels"), [(320, 128), (480, 40), (800, 256)])
def test_it_equals_the_published_formula(hop_length: int, n_mels: int, exportable: bool) -> None:
    waveform = noise(2, 37_777) * torch.logspace(0, -3, 37_777)
    heard = EfficientAT(EfficientATOptions(hop_length=hop_length, n_mels=n_mels), exportable)(waveform)
    torch.testing.assert_close(heard, reference(waveform, hop_length, n_mels), rtol=0, atol=1e-4)


@both_forms
def test_the_published_figures_of_a_sine(exportable: bool) -> None:
    heard = EfficientAT(EfficientATOptions(), exportable)(sine(32000, 10))
    assert heard.shape == (1, 1000, 128)
    assert figures(heard) == pytest.approx([-1.17620, 0.65350, -1.40259, 2.09046], abs=1e-3)


@pytest.mark.parametrize(("num_samples", "num_frames"), [(1, 1), (320, 1), (321, 2), (320_000, 1000), (320_001, 1001)])
def test_pre_emphasis_takes_a_sample(num_samples: int, num_frames: int) -> None:
    assert EfficientATOptions().num_frames(num_samples) == num_frames


def test_a_constant_is_nearly_not_heard() -> None:
    constant = EfficientAT(EfficientATOptions()).spectrum(torch.full((1, 32_000), 0.5))
    # .5 * (1 - .97) under a window that sums to 399.5, of which the first bin's triangle takes nothing.
    assert float(constant.max()) < (0.5 * 0.03 * 399.5) ** 2


@pytest.mark.parametrize(
    ("tree", "message"), [({"f_max": 16001.0}, "half the sample rate"), ({"f_min": 15000.0}, "not below f_max")]
)
def test_options_that_contradict_each_other_are_refused(tree: dict[str, object], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        check_options(tree, EfficientATOptions)
