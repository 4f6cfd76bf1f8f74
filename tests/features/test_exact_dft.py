"""The transform in float64: what lies 130 dB below a loud tone is the sound's, not the rounding's, in the graph too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from desed_task.export import trace_graph
from desed_task.features.exact_dft import ExactFFTBands, ExactMatrixBands
from desed_task.features.fsd50k import FSD50KSpectrogram, FSD50KSpectrogramOptions
from desed_task.onnx_runtime import onnxruntime

HOP, LENGTH = 220, 441


def loud_tone_over_faint_noise(num_samples: int) -> Tensor:
    """(2, samples): 997 Hz at full scale, noise 120 dB below it."""
    rng = np.random.default_rng(0)
    time_axis = np.arange(num_samples) / 22_050
    return torch.from_numpy(np.sin(2 * np.pi * 997 * time_axis) + 1e-6 * rng.normal(size=(2, num_samples))).float()


@pytest.mark.parametrize(("window_length", "fft_length"), [(441, 441), (300, 512)])
@pytest.mark.parametrize("power", [1, 2])
def test_both_are_numpys_transform(window_length: int, fft_length: int, power: int) -> None:
    waveform, window = loud_tone_over_faint_noise(3_000), torch.hann_window(window_length)
    frames = waveform.unfold(1, window_length, HOP)[:, :10].double().numpy()
    expected = np.abs(np.fft.rfft(frames * window.double().numpy(), n=fft_length)) ** power
    for make in (ExactFFTBands, ExactMatrixBands):
        bands = make(window, torch.eye(fft_length // 2 + 1), HOP, fft_length, power)(waveform, 10)
        np.testing.assert_allclose(bands.numpy(), expected, rtol=1e-6, atol=1e-11)


def test_the_graph_gives_the_same_decibels() -> None:
    options = FSD50KSpectrogramOptions()
    graph = trace_graph(FSD50KSpectrogram(options, exportable=True), ["weak"])
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    for num_samples in (22_050, 5_000):
        waveform = loud_tone_over_faint_noise(num_samples)
        expected = FSD50KSpectrogram(options)(waveform).numpy()
        (found,) = session.run(None, {"waveform": waveform.numpy()})
        assert np.ptp(expected) > 120
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
