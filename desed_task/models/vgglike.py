"""The VGG-like tagger of FSD50K (Fonseca et al. 2022, arXiv 2010.00475, section 5.B): 348,040 parameters, 200 classes.

Three stages of 3 x 3 convolutions without padding, batch norm and ReLU, max-pooled by 2 x 2 between them. The clip is
scored by a linear layer on the mean and the maximum of each channel; a frame by the same layer on mean and maximum over
its frequencies. Parameter names are those of fsd50k-pytorch. A frame hears 34 mel frames, and since nothing is padded
the first that there is lies 3.75 frames late: it is repeated in front, so that frames stay in place.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import FrameEmbeddings, form_at
from desed_task.models.image_input import image_of, least_size, require_bands
from desed_task.models.layer_geometry import Layer, place_after
from desed_task.models.tagger import InputShape
from desed_task.options import Options

# Convolutions of each stage, and filters of each stage as multiples of the width.
_STAGES = ((3, 1), (2, 2), (2, 4))
_KERNEL_SIZE = 3
# Frames from the start of a clip to the centre of the first one (34 / 2 mel frames), less half a frame, in frames.
_FRAMES_LATE = 4


class VGGLikeOptions(Options):
    """FSD50K's VGG-like network."""

    name: Literal["vgglike"] = "vgglike"
    width: int = Field(32, ge=1, description="Filters of the first stage; the others have two and four times as many.")

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 1 << (len(_STAGES) - 1)

    def require_fit(self, shape: InputShape) -> None:
        """ValueError when there are too few mel bands."""
        require_bands(shape, _LEAST, "the VGG-like network")


class VGGLike(nn.Module, FrameEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with a frame per 4 mel frames."""

    HEAD: ClassVar[tuple[str, ...]] = ("fc.",)

    def __init__(self, options: VGGLikeOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options = options
        self.features = nn.Sequential(*_layers(options.width))
        self.fc = nn.Linear(2 * options.width * _STAGES[-1][1], num_classes)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        x = self.features(image_of(inputs.mel, _LEAST))
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self.fc.weight.dtype)
            strong = self.fc(_mean_and_maximum(x, (2,)).transpose(1, 2))
            in_front = strong[:, :1].expand(-1, _FRAMES_LATE, -1)
            return Predictions(torch.cat([in_front, strong], dim=1), self.fc(_mean_and_maximum(x, (2, 3))))

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        layers = [
            Layer(_KERNEL_SIZE) if isinstance(part, nn.Conv2d) else Layer(2, 2)
            for part in self.features
            if isinstance(part, nn.Conv2d | nn.MaxPool2d)
        ]
        return form_at(place_after(layers), self.fc.in_features)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, twice the channels): mean and maximum over frequency."""
        return _mean_and_maximum(self.features(image_of(inputs.mel, _LEAST)), (2,)).transpose(1, 2)


def _layers(width: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    channels = 1
    for stage, (convolutions, multiple) in enumerate(_STAGES):
        if stage:
            layers.append(nn.MaxPool2d(2))
        sizes = (channels, *[width * multiple] * convolutions)
        for before, after in pairwise(sizes):
            layers += [nn.Conv2d(before, after, _KERNEL_SIZE), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        channels = sizes[-1]
    return layers


def _mean_and_maximum(x: Tensor, over: tuple[int, ...]) -> Tensor:
    """(batch, channels, bands, frames) -> twice the channels, without the axes of `over`."""
    return torch.cat([x.mean(dim=over), x.amax(dim=over)], dim=1)


def _size_after(size: int) -> int:
    for stage, (convolutions, _) in enumerate(_STAGES):
        size = (size // 2 if stage else size) - convolutions * (_KERNEL_SIZE - 1)
    return size


_LEAST = least_size(_size_after)
