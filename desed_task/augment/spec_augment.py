"""SpecAugment: runs of bands and of frames that a model does not hear (Park et al. 2019, arXiv 1904.08779).

Per clip, with `probability`, n of `num_masks` times: one run of bands, its width drawn evenly up to `max_bands`, and
one run of frames up to `max_frames`; both anywhere. Widths are numbers of bands and frames, or shares of all of them.

    PSLA, AST    domain log, one of each, up to 48 bands and 192 frames, filled with 0
    FSD50K       domain normalised, probability .5, 1 or 2 of each, up to .15 of the bands and .2 of the frames, filled
                 with the clip's minimum
    PANNs        two of each, up to 8 bands and 64 frames, filled with 0 behind the model's first batch norm: about the
                 mean of the clip (`fill: mean`)

Labels stay, those with times too: what is hidden goes on; embeddings are 0 in the masked runs of frames. The published
code never masks the last band and the last frame; here every place is as likely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from desed_task.batch import Inputs, Targets, send
from desed_task.options import Options


class SpecAugmentOptions(Options):
    """Masked runs of bands and of frames."""

    name: Literal["spec_augment"] = "spec_augment"
    domain: Literal["log", "normalised"] = Field("log", description="Masked before or after the normalisation.")
    probability: float = Field(1.0, ge=0, le=1, description="Share of the clips that are masked.")
    num_masks: tuple[int, int] = Field((1, 1), description="Fewest and most masks of each kind.")
    unit: Literal["bins", "shares"] = Field("bins", description="Widths in bands and frames, or as shares of all.")
    max_bands: float = Field(48.0, ge=0, description="Largest width of a frequency mask.")
    max_frames: float = Field(192.0, ge=0, description="Largest width of a time mask.")
    fill: Literal["zero", "minimum", "mean"] = Field("zero", description="What is heard there: 0, or of the clip.")

    @model_validator(mode="after")
    def _consistent(self) -> SpecAugmentOptions:
        if not 1 <= self.num_masks[0] <= self.num_masks[1]:
            raise ValueError(f"num_masks {list(self.num_masks)} are not a fewest, at least 1, and a most")
        if self.unit == "shares" and max(self.max_bands, self.max_frames) > 1:
            raise ValueError("max_bands and max_frames are shares and may be 1 at most; write unit: bins for numbers")
        return self


@dataclass(frozen=True)
class Runs:
    """Masks along one axis. first, width: (clips, masks) int64; a width of 0 masks nothing."""

    first: NDArray[np.int64]
    width: NDArray[np.int64]

    def cover(self, size: int, begin: NDArray[np.int64] | int = 0) -> NDArray[np.bool_]:
        """(clips, size): what is masked of the places begin, begin + 1 ... begin being (clips,) or one for all."""
        place = (np.asarray(begin)[..., None] + np.arange(size)).reshape(-1, 1, size)
        first, end = self.first[:, :, None], (self.first + self.width)[:, :, None]
        covered: NDArray[np.bool_] = ((place >= first) & (place < end)).any(axis=1)
        return covered


def draw_masks(
    options: SpecAugmentOptions, num_frames: NDArray[np.int64], num_bands: int, rng: np.random.Generator
) -> tuple[Runs, Runs]:
    """(over frames, over bands) for clips of num_frames: (clips,) each."""
    clips, (fewest, most) = len(num_frames), options.num_masks
    is_masked = rng.random(clips) < options.probability
    count = np.where(is_masked, rng.integers(fewest, most + 1, clips), 0)
    is_used = np.arange(most) < count[:, None]
    bands = _draw(options.max_bands, options.unit, np.full(clips, num_bands), is_used, rng)
    frames = _draw(options.max_frames, options.unit, num_frames, is_used, rng)
    return frames, bands


def _draw(
    widest: float, unit: str, size: NDArray[np.int64], is_used: NDArray[np.bool_], rng: np.random.Generator
) -> Runs:
    """Both are cut to whole numbers, as published."""
    limit = np.minimum(size, widest if unit == "bins" else widest * size)
    width = (rng.random(is_used.shape) * limit[:, None]).astype(np.int64) * is_used
    first = (rng.random(is_used.shape) * (size[:, None] - width + 1)).astype(np.int64)
    return Runs(first, width)


class SpecAugment:
    """Masks each clip on its own."""

    def __init__(self, options: SpecAugmentOptions) -> None:
        self.options = options
        self.domain = options.domain

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs masked, targets as they were)."""
        clips, num_frames, num_bands = inputs.mel.shape
        frames, bands = draw_masks(self.options, np.full(clips, num_frames), num_bands, rng)
        device = inputs.mel.device
        hidden = send(frames.cover(num_frames), device)
        mask = hidden[:, :, None] | send(bands.cover(num_bands), device)[:, None, :]
        return inputs.mask(hidden, torch.where(mask, self._fill(inputs.mel), inputs.mel)), targets

    def _fill(self, mel: Tensor) -> Tensor:
        """(clips, 1, 1), or one for all."""
        if self.options.fill == "minimum":
            return mel.amin(dim=(1, 2), keepdim=True)
        return mel.mean(dim=(1, 2), keepdim=True) if self.options.fill == "mean" else mel.new_zeros(())
