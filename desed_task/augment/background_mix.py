"""Noise mixed under clips, as FSD50K's baselines do: x <- (1 - a) x + a noise, a drawn evenly up to `max_share`.

Domain: normalised, which in that recipe is dB with the recording's mean taken off: not a mixture of sounds but a fading
of one picture into another. The noise is a part, anywhere, of the features of a whole recording; those are computed
once, and the part goes through the same SpecAugment as the clips, masks being drawn on the whole recording as published
(one of them may hide all of the part). Recordings that are shorter than a clip are repeated. Labels stay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from tqdm import tqdm

from desed_task.audio.containers import find_recordings
from desed_task.augment.spec_augment import SpecAugmentOptions, draw_masks
from desed_task.batch import Inputs, Targets, send
from desed_task.options import Options


class BackgroundMixOptions(Options):
    """Recordings of noise that fade in under clips."""

    name: Literal["background_mix"] = "background_mix"
    folder: Path = Field(description="Recordings of noise, also in folders within (MUSAN's `noise`).")
    probability: float = Field(0.75, ge=0, le=1, description="Share of the clips that get noise.")
    max_share: float = Field(0.5, ge=0, le=1, description="Largest share of the noise.")
    spec_augment: SpecAugmentOptions | None = Field(
        None, description="Masks on the noise; null has none. Its domain plays no part here."
    )


class BackgroundMix:
    """Mixes a part of a noise recording into each clip.

    hear: a recording's path -> what the model would hear of the whole of it, (mel_frames, mel_bands) float32: read at
    the front-end's sample rate, through all three of its stages. It is called once per recording, here; the features
    stay in memory (MUSAN's noise: 6 h, .8 GB at 100 mel frames a second and 96 bands). AudioError when there is none.
    """

    domain = "normalised"

    def __init__(self, options: BackgroundMixOptions, hear: Callable[[Path], NDArray[np.float32]]) -> None:
        self.options = options
        paths = find_recordings(options.folder)
        self._bank = [hear(path) for path in tqdm(paths, unit="recording", desc="noise", disable=None)]
        self._fills = np.array([_fill(options.spec_augment, noise) for noise in self._bank], dtype=np.float32)
        self._lengths = np.array([len(noise) for noise in self._bank], dtype=np.int64)

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs with noise, targets as they were)."""
        clips, num_frames, num_bands = inputs.mel.shape
        share = rng.uniform(0, self.options.max_share, clips) * (rng.random(clips) < self.options.probability)
        noise = self._draw(clips, num_frames, num_bands, rng)
        device = inputs.mel.device
        weight = send(share.astype(np.float32), device)[:, None, None]
        return replace(inputs, mel=(1 - weight) * inputs.mel + weight * send(noise, device)), targets

    def _draw(self, clips: int, num_frames: int, num_bands: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(clips, mel_frames, mel_bands) of noise."""
        chosen = rng.integers(len(self._bank), size=clips)
        lengths = self._lengths[chosen]
        first = rng.integers(0, np.maximum(lengths - num_frames, 0) + 1)
        parts = np.stack([
            _part(self._bank[noise], begin, num_frames) for noise, begin in zip(chosen, first, strict=True)
        ])  # fmt: skip
        if self.options.spec_augment is None:
            return parts
        frames, bands = draw_masks(self.options.spec_augment, np.maximum(lengths, num_frames), num_bands, rng)
        hidden = frames.cover(num_frames, first)[:, :, None] | bands.cover(num_bands)[:, None, :]
        return np.where(hidden, self._fills[chosen][:, None, None], parts)


def _fill(masks: SpecAugmentOptions | None, features: NDArray[np.float32]) -> float:
    """What is heard at hidden places of a recording."""
    if masks is None or masks.fill == "zero":
        return 0.0
    return float(features.min() if masks.fill == "minimum" else features.mean())


def _part(features: NDArray[np.float32], first: int, num_frames: int) -> NDArray[np.float32]:
    """num_frames of the recording from `first` on, repeated where it is shorter."""
    if len(features) >= num_frames:
        return features[first : first + num_frames]
    return np.tile(features, (-(-num_frames // len(features)), 1))[:num_frames]
