"""A centred transform of any window is that of torch.stft, also where the window is shorter than the transform."""

from __future__ import annotations

import pytest
import torch

from desed_task.features.centred import CentredBands, PadMode, centred_frames, with_silence

# window, transform, hop
SHAPES = [(2048, 2048, 256), (661, 1920, 220), (441, 441, 220), (800, 1024, 320), (1024, 4096, 400), (30, 33, 7)]


@pytest.mark.parametrize("exportable", [False, True], ids=["fft", "exportable"])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize(("win_length", "n_fft", "hop_length"), SHAPES)
def test_it_is_the_stft(
    win_length: int, n_fft: int, hop_length: int, power: int, pad_mode: PadMode, exportable: bool
) -> None:
    window, weights = torch.rand(win_length) + 0.1, torch.rand(n_fft // 2 + 1, 5)
    bands = CentredBands(
        window, weights, hop_length, fft_length=n_fft, power=power, pad_mode=pad_mode, exportable=exportable
    )
    for num_samples in (6_000, 6_001, 6_160):
        waveform = torch.randn(2, num_samples)
        bins = torch.stft(
            waveform, n_fft, hop_length, win_length, window, center=True, pad_mode=pad_mode, return_complex=True
        )
        expected = bins.abs().pow(power).transpose(1, 2) @ weights
        found = bands(waveform)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


@pytest.mark.parametrize(
    ("num_samples", "n_fft", "frames"), [(0, 8, 1), (3, 8, 1), (4, 8, 2), (1, 9, 1), (4, 9, 1), (5, 9, 2)]
)
def test_frames_by_hand(num_samples: int, n_fft: int, frames: int) -> None:
    """Hop 4. An odd transform of 9 is padded by 4 at each end, so a second frame needs a fifth sample."""
    assert centred_frames(num_samples, n_fft, 4) == frames


def test_short_clips_are_continued_with_silence_and_others_are_not() -> None:
    clip = torch.tensor([[1.0, 2.0, 3.0]])
    assert with_silence(clip, 5).tolist() == [[1.0, 2.0, 3.0, 0.0, 0.0]]
    assert with_silence(clip, 2).tolist() == [[1.0, 2.0, 3.0]]
