"""The narrow ResNets of GISE-51: those made for small photographs (He et al. 2016, section 4.2) behind ImageNet's stem.

Three stages of equal depth with 32, 64 and 128 filters, two convolutions of 3 x 3 per block, and shortcuts without
parameters (option A): every second row and column, and channels of zeros on either side. Depth 20, 44 and 56 have
1,079,955 / 2,631,827 / 3,407,763 parameters at 51 classes; the README of GISE-51 calls the last one ResNet-54. A linear
layer scores the clip on the mean over frequency and time, and a frame, of 16 mel frames, on the mean over frequency.
Parameter names and initial weights (Kaiming, fan in) are those of the published code.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from desed_task.batch import Inputs, Predictions
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import FrameEmbeddings, form_at
from desed_task.models.image_input import image_of
from desed_task.models.layer_geometry import Layer, place_after
from desed_task.models.pooling import LinearHead
from desed_task.models.tagger import InputShape
from desed_task.options import Options

# The layers that halve, rounding up: stem, its pool, and the first of stages 2 and 3.
_HALVINGS = (Layer(7, 2, 3), *[Layer(3, 2, 1)] * 3)
_STAGES = 3


class CifarResNetOptions(Options):
    """A narrow ResNet of three stages."""

    name: Literal["cifar_resnet"] = "cifar_resnet"
    depth: Literal[8, 20, 32, 44, 56, 110] = Field(20, description="Layers: 20, 44 or 56 as published, 8 for tests.")
    width: int = Field(32, ge=2, multiple_of=2, description="Filters of the first stage; each later one doubles them.")

    @property
    def blocks(self) -> int:
        """Blocks of each stage: two layers each, beside the first convolution and the head."""
        return (self.depth - 2) // (2 * _STAGES)

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 16

    def require_fit(self, shape: InputShape) -> None:
        """Any input is large enough."""


class CifarResNet(nn.Module, FrameEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with a frame per 16 mel frames."""

    HEAD: ClassVar[tuple[str, ...]] = ("linear.",)

    def __init__(self, options: CifarResNetOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options = options
        self.conv1 = nn.Conv2d(1, options.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(options.width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(options.width, options.width, options.blocks)
        self.layer2 = _stage(options.width, 2 * options.width, options.blocks)
        self.layer3 = _stage(2 * options.width, 4 * options.width, options.blocks)
        self.linear = LinearHead(4 * options.width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        predictions: Predictions = self.linear(self._feature_map(inputs))
        return predictions

    def _feature_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels, frames), the mean over frequency."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(image_of(inputs.mel, 1)))))
        averaged: Tensor = self.layer3(self.layer2(self.layer1(x))).mean(dim=2)
        return averaged

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        return form_at(place_after(_HALVINGS), self.linear.in_features)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, channels)."""
        return self._feature_map(inputs).transpose(1, 2)


class _Block(nn.Module):
    """Two convolutions and a shortcut; the first halves where the number of channels doubles."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.stride = 2 if filters > channels else 1
        self.added_on_a_side = (filters - channels) // 2
        self.conv1 = nn.Conv2d(channels, filters, 3, stride=self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, filters, height / stride, width / stride)."""
        residual = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(residual + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        added = self.added_on_a_side
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, added, added))


def _stage(channels: int, filters: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(_Block(channels, filters), *(_Block(filters, filters) for _ in range(blocks - 1)))
