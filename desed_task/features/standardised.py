"""The end of PSLA's and AST's front-ends: a fixed number of frames, then the mean and standard deviation of a corpus.

Clips are continued with 0 in the logarithmic domain, or cut, and only then normalised, so what continues a clip is
heard as -mean / (std * std_scale) and not as silence: trained weights expect it. PSLA divides by the standard
deviation, AST and AudioTaggingDoneRight by twice of it (std_scale 2); weights of one heard with the scale of the other
are silently worse (ast #5, #16, #55). Without `target_frames` clips keep their length.

The published code computes features of each clip at its own length and only then continues them with rows of 0. Clips
of a batch are continued with silence before features, which is heard as the floor of the logarithm. `padding: zero`
gives what is published all the same: frames that reach beyond the last sample that is not 0 become 0 in the logarithmic
domain, too. A recording that ends in digital silence loses those frames alike.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from desed_task.features.frontend import StagedFrontend
from desed_task.options import Options


class StandardisedOptions(Options):
    """Length and level of what the model hears."""

    target_frames: int | None = Field(
        None, ge=1, description="Mel frames that every clip is continued or cut to; null: as many as it has."
    )
    padding: Literal["floor", "zero"] = Field(
        "floor",
        description="Digital silence at a clip's end is heard as it is, or is 0 before normalisation (as published).",
    )
    mean: float = Field(0.0, description="Mean of the logarithmic features of the corpus, which is subtracted.")
    std: float = Field(1.0, gt=0, description="Standard deviation of the logarithmic features of the corpus.")
    std_scale: float = Field(2.0, gt=0, description="Standard deviations to which 1 corresponds (PSLA 1, AST 2).")


class StandardisedFrontend(StagedFrontend):
    """Base of front-ends with these options; they give `logarithm`."""

    options: StandardisedOptions

    @abstractmethod
    def logarithm(self, spectrum: Tensor) -> Tensor:
        """Linear features -> their logarithm, frame by frame."""

    def compress(self, spectrum: Tensor) -> Tensor:
        """Linear features -> their logarithm, continued with 0 or cut to `target_frames`."""
        logarithm, target = self.logarithm(spectrum), self.options.target_frames
        if self.options.padding == "zero":
            logarithm = logarithm * until_last(spectrum.amax(dim=2) > 0).unsqueeze(2)
        return logarithm if target is None else functional.pad(logarithm, (0, 0, 0, target))[:, :target]

    def silenced(self, spectrum: Tensor, waveform: Tensor, first_end: int, hop_length: int) -> Tensor:
        """With `padding: zero`, linear features without the frames that end after the last sample that is not 0.

        first_end: samples from the clip's beginning to the end of frame 0, by which a clip's frames are counted.
        """
        if self.options.padding == "floor":
            return spectrum
        # Block t holds the last sample of frame t, and those up to the last of frame t + 1.
        last_samples = functional.pad(waveform.abs(), (1, first_end + hop_length))[:, first_end:]
        blocks = functional.max_pool1d(last_samples.unsqueeze(1), hop_length, hop_length).squeeze(1)
        # Of a clip shorter than a frame, that frame is all there is.
        first, later = torch.ones_like(blocks[:, :1]), blocks[:, 1 : spectrum.shape[1]]
        return spectrum * until_last(torch.cat([first, later], dim=1) > 0).unsqueeze(2)

    def normalise(self, logarithm: Tensor) -> Tensor:
        """(logarithm - mean) / (std * std_scale)."""
        return (logarithm - self.options.mean) / (self.options.std * self.options.std_scale)


def until_last(found: Tensor) -> Tensor:
    """(batch, frames) of bool -> 1 up to the last frame that is True and 0 beyond, as float32."""
    counted = found.float()
    # What is found from a frame on: all, less what is found up to it, and itself. Counts stay below 2^24: exact.
    from_here = counted.sum(dim=1, keepdim=True) - torch.cumsum(counted, dim=1) + counted
    return (from_here > 0).float()
