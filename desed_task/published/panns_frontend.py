"""The front-end that a PANN carries in its checkpoint, against ours.

PANNs compute their spectrogram by two convolutions whose kernels, cosines and sines under a window, are saved with the
weights, as is the mel matrix. Ours computes the same by FFT, so these tensors are only read to see that they say what
we compute: their sizes tell the sample rate, which a checkpoint does not name otherwise, and weights of one rate fed
with another are silently wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from desed_task.errors import CheckpointError
from desed_task.features.frontend import FrontendOptions
from desed_task.features.panns import SETTINGS, PANNs, PANNsOptions

REAL = "spectrogram_extractor.stft.conv_real.weight"
IMAGINARY = "spectrogram_extractor.stft.conv_imag.weight"
MEL = "logmel_extractor.melW"
# Kernels reach 1 and are rounded to float32; mel weights reach .02.
_KERNEL_TOLERANCE, _MEL_TOLERANCE = 1e-4, 1e-6


def check_frontend(weights: Mapping[str, Tensor], path: Path, features: FrontendOptions | None) -> str | None:
    """What the checkpoint's front-end is, in words; None when it brings none.

    CheckpointError when it is none of the three published ones, or another than `features`, the conf's.
    """
    if MEL not in weights:
        return None
    sample_rate = _sample_rate(weights, path)
    found = f"its front-end is that of PANNs at {sample_rate} Hz"
    if features is not None and (features.name, features.sample_rate) != ("panns", sample_rate):
        raise CheckpointError(
            f"{path}: {found}, and the conf's is {features.name} at {features.sample_rate} Hz; set features to "
            f"name: panns and sample_rate: {sample_rate}"
        )
    return found


def _sample_rate(weights: Mapping[str, Tensor], path: Path) -> int:
    num_bins, num_bands = weights[MEL].shape if weights[MEL].dim() == 2 else (0, 0)
    for sample_rate, setting in SETTINGS.items():
        if setting.n_fft // 2 + 1 == num_bins:
            options = PANNsOptions.model_validate({"sample_rate": sample_rate, "n_mels": num_bands})
            _require_equal(weights, MEL, PANNs(options).bands.bands.weights, _MEL_TOLERANCE, path)
            for name, kernels in zip((REAL, IMAGINARY), _kernels(setting.n_fft), strict=True):
                if name in weights:
                    _require_equal(weights, name, kernels[:, None], _KERNEL_TOLERANCE, path)
            return sample_rate
    raise CheckpointError(
        f"{path}: {MEL} has the shape {tuple(weights[MEL].shape)}; PANNs at 8, 16 and 32 kHz have 129, 257 and 513 bins"
    )


def _require_equal(weights: Mapping[str, Tensor], name: str, ours: Tensor, tolerance: float, path: Path) -> None:
    theirs = weights[name]
    same_shape = theirs.shape == ours.shape
    difference = (theirs.double() - ours.double()).abs().max().item() if same_shape else math.inf
    if difference > tolerance:
        raise CheckpointError(
            f"{path}: {name} differs from the front-end of PANNs by up to {difference:.2g}; these weights hear other "
            f"features than ours"
        )


def _kernels(n_fft: int) -> tuple[Tensor, Tensor]:
    """Cosines and minus sines under a periodic Hann window: (bins, samples) each."""
    turns = torch.arange(n_fft // 2 + 1)[:, None] * torch.arange(n_fft) % n_fft
    angles = 2.0 * math.pi * turns.double() / n_fft
    window = torch.hann_window(n_fft, dtype=torch.float64)
    return angles.cos() * window, -angles.sin() * window
