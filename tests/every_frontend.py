"""Every front-end as its options and its class, and sounds to hear with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from desed_task.features.efficientat import EfficientAT, EfficientATOptions
from desed_task.features.frontend import FrontendOptions, StagedFrontend
from desed_task.features.fsd50k import FSD50KMel, FSD50KMelOptions, FSD50KSpectrogram, FSD50KSpectrogramOptions
from desed_task.features.kaldi import Kaldi, KaldiOptions
from desed_task.features.logmel import LogMel, LogMelOptions
from desed_task.features.panns import PANNs, PANNsOptions
from desed_task.features.tal import TAL, TALOptions

FRONTENDS: Mapping[str, tuple[FrontendOptions, Any]] = {
    "logmel": (LogMelOptions(), LogMel),
    "fsd50k_mel": (FSD50KMelOptions(), FSD50KMel),
    "fsd50k_spectrogram": (FSD50KSpectrogramOptions(), FSD50KSpectrogram),
    "fsd50k_spectrogram, constant": (FSD50KSpectrogramOptions(pad_mode="constant"), FSD50KSpectrogram),
    "kaldi": (KaldiOptions(), Kaldi),
    "kaldi, 1024 frames": (KaldiOptions(target_frames=1024), Kaldi),
    "kaldi, padding 0": (KaldiOptions(padding="zero"), Kaldi),
    "kaldi, 22.05 kHz": (KaldiOptions(sample_rate=22050, n_mels=40), Kaldi),
    "panns, 8 kHz": (PANNsOptions(sample_rate=8000), PANNs),
    "panns, 16 kHz": (PANNsOptions(sample_rate=16000), PANNs),
    "panns, 32 kHz": (PANNsOptions(sample_rate=32000), PANNs),
    "efficientat": (EfficientATOptions(), EfficientAT),
    "efficientat, 25 ms": (EfficientATOptions(hop_length=800, n_mels=40), EfficientAT),
    "tal": (TALOptions(), TAL),
    "tal, padding 0": (TALOptions(padding="zero"), TAL),
    "tal, any length": (TALOptions(target_frames=None, log_factor=10), TAL),
}


def build_frontend(name: str, exportable: bool = False) -> StagedFrontend:
    """The front-end of that name in FRONTENDS."""
    options, make = FRONTENDS[name]
    frontend: StagedFrontend = make(options, exportable)
    return frontend


def noise(batch: int, num_samples: int, seed: int = 0) -> Tensor:
    """(batch, samples) of white noise at a level of .1, no two alike."""
    return 0.1 * torch.randn(batch, num_samples, generator=torch.Generator().manual_seed(seed))


def sine(sample_rate: int, seconds: float) -> Tensor:
    """(1, samples): 1 kHz, amplitude .5, phase 0, the sound whose features were published."""
    seconds_of = torch.arange(round(sample_rate * seconds), dtype=torch.float64) / sample_rate
    return (0.5 * torch.sin(2 * torch.pi * 1000.0 * seconds_of)).float()[None]


def figures(features: Tensor) -> list[float]:
    """Mean, standard deviation (of the whole, not a sample), minimum and maximum."""
    values = features.double()
    return [float(figure) for figure in (values.mean(), values.std(correction=0), values.min(), values.max())]
