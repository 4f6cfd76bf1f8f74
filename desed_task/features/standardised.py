"""The end of PSLA's and AST's front-ends: a fixed number of frames, then the mean and standard deviation of a corpus.

Clips are continued with 0 in the logarithmic domain, or cut, and only then normalised, so what continues a clip is
heard as -mean / (std * std_scale) and not as silence: trained weights expect it. PSLA divides by the standard
deviation, AST and AudioTaggingDoneRight by twice of it (std_scale 2); weights of one heard with the scale of the other
are silently worse (ast #5, #16, #55). Without `target_frames` clips keep their length.
"""

from __future__ import annotations

from abc import abstractmethod

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
        return logarithm if target is None else functional.pad(logarithm, (0, 0, 0, target))[:, :target]

    def normalise(self, logarithm: Tensor) -> Tensor:
        """(logarithm - mean) / (std * std_scale)."""
        return (logarithm - self.options.mean) / (self.options.std * self.options.std_scale)
