"""A random part of the spectrogram, stretched to the size of the whole (Szegedy et al. 2014, arXiv 1409.4842).

Per clip: a box of `area` of the spectrogram, its ratio of mel frames to bands drawn evenly in the logarithm from
`ratio`, anywhere in the spectrogram. A box that is larger than the spectrogram along one axis is drawn again, ten
times; then it is the middle part whose ratio is nearest. These are torchvision's rules. Values between are interpolated
linearly from those in the box.

Tags stay. Strong labels have times, which a part that is stretched would tear from the sound: clips that have them are
left alone, and so are clips with embeddings, of which no part can be taken.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch.nn import functional

from desed_task.batch import Inputs, Targets, send
from desed_task.options import Options

_ATTEMPTS = 10


class RandomResizedCropOptions(Options):
    """Parts of spectrograms."""

    name: Literal["random_resized_crop"] = "random_resized_crop"
    domain: Literal["linear", "log", "normalised"] = Field("normalised", description="Which values are interpolated.")
    probability: float = Field(1.0, ge=0, le=1, description="Share of the clips of which a part is taken.")
    area: tuple[float, float] = Field((0.08, 1.0), description="Least and largest share of the spectrogram's area.")
    ratio: tuple[float, float] = Field((3 / 4, 4 / 3), description="Least and largest mel frames per band of the part.")

    @model_validator(mode="after")
    def _consistent(self) -> RandomResizedCropOptions:
        if not 0 < self.area[0] <= self.area[1] <= 1:
            raise ValueError(f"area {list(self.area)} must rise within 0 and 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio {list(self.ratio)} must rise and lie above 0")
        return self


class Box(NamedTuple):
    """A part of a spectrogram, in mel frames and bands."""

    first_frame: int
    frames: int
    first_band: int
    bands: int


class RandomResizedCrop:
    """Takes a part of each clip."""

    def __init__(self, options: RandomResizedCropOptions) -> None:
        self.options = options
        self.domain = options.domain

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs of tagged and unlabeled clips cropped, targets as they were)."""
        clips, num_frames, num_bands = inputs.mel.shape
        if inputs.embeddings or inputs.embedder_inputs:
            return inputs, targets
        boxes = np.array([self._draw(num_frames, num_bands, rng) for _ in range(clips)])
        frames = send(_positions(boxes[:, 0], boxes[:, 1], num_frames), inputs.mel.device)
        bands = send(_positions(boxes[:, 2], boxes[:, 3], num_bands), inputs.mel.device)
        shape = (clips, num_frames, num_bands)
        grid = torch.stack([bands[:, None, :].expand(shape), frames[:, :, None].expand(shape)], dim=-1)
        cropped = functional.grid_sample(
            inputs.mel[:, None], grid.to(inputs.mel.dtype), padding_mode="border", align_corners=False
        ).squeeze(1)
        return replace(inputs, mel=torch.where(targets.has_strong[:, None, None], inputs.mel, cropped)), targets

    def _draw(self, num_frames: int, num_bands: int, rng: np.random.Generator) -> Box:
        if rng.random() >= self.options.probability:
            return Box(0, num_frames, 0, num_bands)
        low, high = (math.log(ratio) for ratio in self.options.ratio)
        for _ in range(_ATTEMPTS):
            area, ratio = num_frames * num_bands * rng.uniform(*self.options.area), math.exp(rng.uniform(low, high))
            frames, bands = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < frames <= num_frames and 0 < bands <= num_bands:
                first_frame = int(rng.integers(0, num_frames - frames + 1))
                return Box(first_frame, frames, int(rng.integers(0, num_bands - bands + 1)), bands)
        return self._middle(num_frames, num_bands)

    def _middle(self, num_frames: int, num_bands: int) -> Box:
        least, largest = self.options.ratio
        frames = min(num_frames, round(num_bands * largest))
        bands = min(num_bands, round(num_frames / least))
        return Box((num_frames - frames) // 2, frames, (num_bands - bands) // 2, bands)


def _positions(first: NDArray[np.int64], width: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """(clips, size): where the places of the result lie along the axis, -1 and 1 being its outer edges."""
    steps = (np.arange(size) + 0.5) * width[:, None] / size - 0.5
    places = first[:, None] + np.clip(steps, 0, width[:, None] - 1)
    return np.asarray((2 * places + 1) / size - 1, dtype=np.float32)
