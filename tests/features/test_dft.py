"""Band magnitudes by FFT and by convolution: the same numbers, whatever the frame, the hop and the clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from desed_task.features.dft import ConvolutionBands, FFTBands

FRAMES_AND_HOPS = [(2048, 256), (1024, 512), (1024, 320), (512, 160), (400, 160), (16, 1), (18, 6), (30, 7)]


def window_and_weights(length: int, bands: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(length)
    return torch.rand(length, generator=generator), torch.rand(length // 2 + 1, bands, generator=generator)


@pytest.mark.parametrize(("length", "hop"), FRAMES_AND_HOPS)
def test_convolution_and_fft_agree(length: int, hop: int) -> None:
    window, weights = window_and_weights(length)
    padded = torch.randn(3, length + 9 * hop + hop // 2)
    by_fft = FFTBands(window, weights, hop)(padded, 10)
    by_convolution = ConvolutionBands(window, weights, hop)(padded, 10)
    assert by_convolution.shape == (3, 10, 5)
    torch.testing.assert_close(by_convolution, by_fft, rtol=1e-5, atol=1e-5 * float(by_fft.max()))


@pytest.mark.parametrize(("length", "hop"), FRAMES_AND_HOPS)
def test_every_bin_has_a_place_of_its_own(length: int, hop: int) -> None:
    """With one band per bin, a cosine of k periods per frame is heard in band k alone, at length / 2."""
    bins = length // 2 + 1
    bands = ConvolutionBands(torch.ones(length), torch.eye(bins), hop)
    for bin_number in {1, 2, bins // 3, bins // 2, bins - 2}:
        wave = torch.cos(2 * torch.pi * bin_number * torch.arange(length).double() / length).float()
        expected = torch.zeros(bins)
        expected[bin_number] = length / 2
        torch.testing.assert_close(bands(wave[None], 1)[0, 0], expected, rtol=0, atol=1e-5 * length)


def test_the_magnitudes_are_those_of_numpy() -> None:
    frame = np.random.default_rng(0).normal(size=64)
    window = torch.hamming_window(64, periodic=False)
    bands = ConvolutionBands(window, torch.eye(33), 16)(torch.from_numpy(frame).float()[None], 1)
    np.testing.assert_allclose(bands[0, 0], np.abs(np.fft.rfft(frame * window.double().numpy())), rtol=1e-5, atol=1e-5)


def test_frames_begin_one_hop_apart() -> None:
    impulse = torch.zeros(1, 64 + 3 * 16)
    impulse[0, 50] = 1.0
    window = torch.arange(64.0)
    bands = ConvolutionBands(window, torch.eye(33)[:, :1], 16)(impulse, 4)
    assert bands[0, :, 0].tolist() == [50.0, 34.0, 18.0, 2.0]


def test_silence_is_exactly_zero() -> None:
    assert not ConvolutionBands(*window_and_weights(1024), 320)(torch.zeros(1, 4096), 10).any()


@pytest.mark.parametrize(("window_length", "length", "hop"), [(400, 512, 160), (661, 1920, 220), (20, 30, 7)])
def test_a_short_window_is_continued_with_zeros(window_length: int, length: int, hop: int) -> None:
    window, (_, weights) = torch.rand(window_length) + 0.1, window_and_weights(length)
    frame = torch.randn(1, window_length)
    expected = np.abs(np.fft.rfft((frame * window)[0].double().numpy(), n=length)) ** 2 @ weights.double().numpy()
    for make in (FFTBands, ConvolutionBands):
        bands = make(window, weights, hop, length, power=2)(frame, 1)
        np.testing.assert_allclose(bands[0, 0], expected, rtol=1e-4)
