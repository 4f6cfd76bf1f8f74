"""The 64-band log-mel of AudioTaggingDoneRight (TALNet, TALtrans and its small AST).

The waveform less its mean; periodic Hann window of 1024 samples every 400 (16 kHz: 40 mel frames per second) in a
transform of 4096, centred, silence beyond the ends; power; 64 bands on Slaney's mel scale, each of unit area, from 0 Hz
to half the sample rate; dB, continued with 0 or cut to 400 frames; (x - mean) / (2 std).

The published code takes 20 log10 of the power, twice what dB of a power are (a tensor stands where its converter
expects the word "power"), so silence is at -200 and the published mean -29.7 and deviation 40.9 are of that.
`log_factor` 10 gives dB; mean and std must be of the same kind. Equal to torchaudio's MelSpectrogram (to 1e-4 relative
to the factor where the level is above the floor).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torchaudio.functional import melscale_fbanks

from desed_task.features.centred import CentredBands, centred_frames
from desed_task.features.frontend import require_window
from desed_task.features.standardised import StandardisedFrontend, StandardisedOptions

POWER_FLOOR = 1e-10
# AudioSet's, measured with mixup .3 and masks of 12 bands and 60 frames.
AUDIOSET_MEAN, AUDIOSET_STD = -29.686901, 40.898224


class TALOptions(StandardisedOptions):
    """The 64-band log-mel of AudioTaggingDoneRight."""

    name: Literal["tal"] = "tal"
    sample_rate: int = Field(16000, ge=1000, description="Samples per second the model hears.")
    n_fft: int = Field(4096, ge=16, description="Samples of the transform.")
    win_length: int = Field(1024, ge=16, description="Samples of the window, in the middle of the transform.")
    hop_length: int = Field(400, ge=1, description="Samples from one mel frame to the next.")
    n_mels: int = Field(64, ge=1, description="Mel bands.")
    log_factor: Literal[10, 20] = Field(20, description="Factor of log10(power): 20 as published, 10 for dB.")
    target_frames: int | None = Field(
        400, ge=1, description="Mel frames that every clip is continued or cut to; null: as many as it has."
    )
    mean: float = Field(AUDIOSET_MEAN, description="Mean of the corpus' log-mel, which is subtracted.")
    std: float = Field(AUDIOSET_STD, gt=0, description="Standard deviation of the corpus' log-mel.")

    @model_validator(mode="after")
    def _consistent(self) -> TALOptions:
        require_window(self.win_length, self.n_fft)
        return self

    @property
    def num_bands(self) -> int:
        """Mel bands."""
        return self.n_mels

    def num_frames(self, num_samples: int) -> int:
        """Mel frames of `num_samples` samples: `target_frames`, or samples // hop + 1."""
        within = centred_frames(num_samples, self.n_fft, self.hop_length)
        return within if self.target_frames is None else self.target_frames


class TAL(StandardisedFrontend):
    """waveform (batch, samples) -> normalised log-mel (batch, mel_frames, mel_bands)."""

    def __init__(self, options: TALOptions, exportable: bool = False) -> None:
        super().__init__()
        self.options: TALOptions = options
        bins, f_max = options.n_fft // 2 + 1, options.sample_rate / 2
        weights = melscale_fbanks(
            bins, 0.0, f_max, options.n_mels, options.sample_rate, norm="slaney", mel_scale="slaney"
        )
        window = torch.hann_window(options.win_length)
        self.bands = CentredBands(
            window,
            weights,
            options.hop_length,
            fft_length=options.n_fft,
            power=2,
            pad_mode="constant",
            exportable=exportable,
        )

    def spectrum(self, waveform: Tensor) -> Tensor:
        """waveform (batch, samples) -> mel power (batch, mel_frames, mel_bands)."""
        mel: Tensor = self.bands(waveform - waveform.mean(dim=1, keepdim=True))
        # A clip of N samples has N // hop + 1 frames, though the last of them reach beyond it.
        return self.silenced(mel, waveform, 0, self.options.hop_length)

    def logarithm(self, spectrum: Tensor) -> Tensor:
        """Mel power -> `log_factor` log10."""
        return self.options.log_factor * torch.log10(spectrum.clamp(min=POWER_FLOOR))
