"""The DenseNet tagger of FSD50K and GISE-51: torchvision's network with one input channel and frame scores.

DenseNet-121, the default, has 7,152,584 parameters at 200 classes and 6,999,859 at 51; 169 and 201 are blocks
[6, 12, 32, 32] and [6, 12, 48, 32], 161 is [6, 12, 36, 24] with growth_rate 48 and width 96. The clip is scored by a
linear layer on the mean over frequency and time, a frame by the same layer on the mean over frequency. Parameter names
are those of torchvision and fsd50k-pytorch.
"""

from __future__ import annotations

from math import ceil
from typing import Annotated, ClassVar, Literal

import torch
import torchvision
from pydantic import Field, model_validator
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import EarlyEmbeddings, form_at
from desed_task.models.image_input import image_of, least_size, require_bands
from desed_task.models.imagenet import load_trunk, read_imagenet_weights, sum_over_colours
from desed_task.models.layer_geometry import Layer, place_after
from desed_task.models.pooling import LinearHead
from desed_task.models.tagger import InputShape
from desed_task.options import Options

_Count = Annotated[int, Field(ge=1)]
_STEM, _TRANSITION = (Layer(7, 2, 3), Layer(3, 2, 1)), Layer(2, 2)
# Blocks until the map that is `early`: behind the stem and one transition, 8 mel frames per step.
_EARLY_BLOCKS = 2
# (blocks, growth_rate, width) -> the network of torchvision that is so made.
_PUBLISHED: dict[tuple[tuple[int, ...], int, int], str] = {
    ((6, 12, 24, 16), 32, 64): "densenet121",
    ((6, 12, 36, 24), 48, 96): "densenet161",
    ((6, 12, 32, 32), 32, 64): "densenet169",
    ((6, 12, 48, 32), 32, 64): "densenet201",
}


class DenseNetOptions(Options):
    """A DenseNet; the default is DenseNet-121."""

    name: Literal["densenet"] = "densenet"
    blocks: tuple[_Count, ...] = Field((6, 12, 24, 16), min_length=1, description="Dense layers of each block.")
    growth_rate: int = Field(32, ge=1, description="Filters that each dense layer adds.")
    width: int = Field(64, ge=1, description="Filters of the first convolution.")
    drop_rate: float = Field(0.0, ge=0, lt=1, description="Dropout after each dense layer; 0 as published.")
    pretrained: Literal["imagenet"] | None = Field(
        None, description="Initial weights of all but the classifier: imagenet (torchvision's) or none."
    )

    @model_validator(mode="after")
    def _weights_exist(self) -> DenseNetOptions:
        if self.pretrained and self.published_name is None:
            raise ValueError(
                f"there are no ImageNet weights of blocks {list(self.blocks)}, growth_rate {self.growth_rate} and "
                f"width {self.width}; take those of DenseNet-121, 161, 169 or 201, or set pretrained to null"
            )
        return self

    @property
    def published_name(self) -> str | None:
        """What torchvision calls this network, if it has it."""
        return _PUBLISHED.get((self.blocks, self.growth_rate, self.width))

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 2 << len(self.blocks)

    @property
    def least_size(self) -> int:
        """Mel frames, and mel bands, that leave something: the stem quarters rounding up, transitions halve down."""
        return least_size(lambda size: ceil(size / 4) >> (len(self.blocks) - 1))

    def require_fit(self, shape: InputShape) -> None:
        """ValueError when there are too few mel bands."""
        require_bands(shape, self.least_size, f"a DenseNet of {len(self.blocks)} blocks")


class DenseNet(nn.Module, EarlyEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with a frame per 32 mel frames (of four blocks)."""

    HEAD: ClassVar[tuple[str, ...]] = ("classifier.",)

    def __init__(self, options: DenseNetOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options, self.least_frames, self.mel_bands = options, options.least_size, shape.mel_bands
        network = torchvision.models.DenseNet(
            options.growth_rate, options.blocks, options.width, drop_rate=options.drop_rate
        )
        network.features.conv0 = nn.Conv2d(1, options.width, 7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(network.features.conv0.weight)
        self.features: nn.Sequential = network.features
        self.classifier = LinearHead(network.classifier.in_features, num_classes)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        predictions: Predictions = self.classifier(self._feature_map(inputs))
        return predictions

    def _feature_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels, frames), the mean over frequency."""
        x: Tensor = self.features(image_of(inputs.mel, self.least_frames))
        return torch.relu(x).mean(dim=2)

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        layers = (*_STEM, *[_TRANSITION] * (len(self.options.blocks) - 1))
        return form_at(place_after(layers), self.classifier.in_features)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, channels)."""
        return self._feature_map(inputs).transpose(1, 2)

    def early_form(self) -> EmbeddingForm:
        """What the embedding `early` looks like."""
        channels = self.options.width
        layers = list(_STEM)
        for index, dense_layers in enumerate(self.options.blocks[:_EARLY_BLOCKS]):
            if index:
                channels, layers = channels // 2, [*layers, _TRANSITION]
            channels += dense_layers * self.options.growth_rate
        return form_at(place_after(layers), channels * place_after(layers, self.mel_bands).size)

    def early_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels, bands, times)."""
        x, last = image_of(inputs.mel, self.least_frames), f"denseblock{min(_EARLY_BLOCKS, len(self.options.blocks))}"
        for name, part in self.features.named_children():
            x = part(x)
            if name == last:
                break
        return x

    def load_pretrained(self) -> None:
        """The initial weights that the options name, if any; FetchError when they cannot be had."""
        if self.options.pretrained:
            version = torchvision.models.get_model_weights(self.options.published_name)["IMAGENET1K_V1"]
            load_trunk(self, _named_as_today(read_imagenet_weights(version.url)), ("classifier.",))


def _named_as_today(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file writes `denselayer1.norm.1.weight` for what is `denselayer1.norm1.weight`."""
    renamed = {}
    for name, value in weights.items():
        for layer in ("norm", "relu", "conv"):
            name = name.replace(f".{layer}.1.", f".{layer}1.").replace(f".{layer}.2.", f".{layer}2.")  # noqa: PLW2901
        renamed[name] = value
    return renamed | {"features.conv0.weight": sum_over_colours(renamed["features.conv0.weight"])}
