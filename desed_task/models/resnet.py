"""ResNet taggers on torchvision's trunk with one input channel: those of FSD50K and GISE-51, and PSLA's with attention.

resnet           mean over frequency and time, linear layer (fsd50k-pytorch): 11,272,840 / 21,381,000 / 23,911,560
                 parameters of depth 18 / 34 / 50 at 200 classes; frames are scored by the same layer on the mean over
                 frequency. Initial weights as published: convolutions Kaiming (fan out), batch norm N(1, .02).
resnet_attention mean over frequency, PSLA's attention head (Gong et al. 2021, arXiv 2102.01243): 25,661,406 parameters
                 of depth 50 with one head at 527 classes. The published one takes 1056 mel frames x 128 bands only;
                 this one takes any number.

Parameter names are those of the published checkpoints. Every layer halves its input rounding up, so that any input is
large enough; a frame is of 32 mel frames, of which it is centred on the first.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torchvision
from pydantic import Field, model_validator
from torch import Tensor, nn
from torchvision.models import resnet as published

from desed_task.batch import Inputs, Predictions
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import EarlyEmbeddings, form_at
from desed_task.models.image_input import image_of
from desed_task.models.imagenet import load_trunk, read_imagenet_weights, sum_over_colours
from desed_task.models.layer_geometry import Layer, place_after
from desed_task.models.pooling import LinearHead
from desed_task.models.psla_heads import PslaHeadOptions
from desed_task.models.tagger import InputShape
from desed_task.options import Options

Depth = Literal[10, 18, 34, 50, 101, 152]
_PUBLISHED_WIDTH = 64
# The layers that halve: stem, its pool, and the first of stages 2 to 4; the map after stage 2 is `early`.
_HALVINGS = (Layer(7, 2, 3), *[Layer(3, 2, 1)] * 4)
_EARLY_HALVINGS = _HALVINGS[:3]
_BLOCKS: dict[Depth, tuple[Any, tuple[int, int, int, int]]] = {
    10: (published.BasicBlock, (1, 1, 1, 1)),
    18: (published.BasicBlock, (2, 2, 2, 2)),
    34: (published.BasicBlock, (3, 4, 6, 3)),
    50: (published.Bottleneck, (3, 4, 6, 3)),
    101: (published.Bottleneck, (3, 4, 23, 3)),
    152: (published.Bottleneck, (3, 8, 36, 3)),
}


class _TrunkOptions(Options):
    depth: Depth = Field(18, description="Layers: 18, 34, 50, 101 or 152 as published, 10 for small data.")
    width: int = Field(_PUBLISHED_WIDTH, ge=1, description="Filters of the first stage; each later one doubles them.")
    pretrained: Literal["imagenet"] | None = Field(
        None, description="Initial weights of the trunk: imagenet (torchvision's first version) or none."
    )

    @model_validator(mode="after")
    def _weights_exist(self) -> _TrunkOptions:
        if self.pretrained and (self.depth == 10 or self.width != _PUBLISHED_WIDTH):
            raise ValueError(
                f"there are no ImageNet weights of depth {self.depth} and width {self.width}; "
                f"take depth 18 to 152 and width {_PUBLISHED_WIDTH}, or set pretrained to null"
            )
        return self

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 32

    def require_fit(self, shape: InputShape) -> None:
        """Any input is large enough."""


class ResNetOptions(_TrunkOptions):
    """A ResNet that averages over frequency and time."""

    name: Literal["resnet"] = "resnet"


class ResNetAttentionOptions(_TrunkOptions, PslaHeadOptions):
    """A ResNet with PSLA's attention over time."""

    name: Literal["resnet_attention"] = "resnet_attention"
    depth: Depth = Field(50, description="Layers: 18, 34, 50, 101 or 152; PSLA's has 50.")
    att_head: int = Field(1, ge=0, description="Attention heads; 0 takes the mean of frame probabilities.")


class _Trunk(published.ResNet, EarlyEmbeddings):  # type: ignore[misc]  # (torchvision has no annotations)
    """torchvision's ResNet for one channel and any width, without a classifier."""

    def __init__(self, options: _TrunkOptions, mel_bands: int) -> None:
        self._width = options.width
        block, layers = _BLOCKS[options.depth]
        super().__init__(block, layers)
        self.channels: int = 8 * options.width * block.expansion
        self.mel_bands = mel_bands
        self.conv1 = nn.Conv2d(1, options.width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(options.width)
        del self.fc

    def _make_layer(self, block: Any, planes: int, *arguments: Any, **named: Any) -> nn.Sequential:
        if planes == _PUBLISHED_WIDTH:  # the first stage, whose input is that of the stem
            self.inplanes = self._width
        layer: nn.Sequential = super()._make_layer(block, planes * self._width // _PUBLISHED_WIDTH, *arguments, **named)
        return layer

    def feature_map(self, mel: Tensor) -> Tensor:
        """(batch, mel_frames, mel_bands) -> (batch, channels, frames), the mean over frequency."""
        averaged: Tensor = self.layer4(self.layer3(self.early_map(Inputs(mel)))).mean(dim=2)
        return averaged

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        return form_at(place_after(_HALVINGS), self.channels)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, channels)."""
        return self.feature_map(inputs.mel).transpose(1, 2)

    def early_form(self) -> EmbeddingForm:
        """What the embedding `early` looks like."""
        bands = place_after(_EARLY_HALVINGS, self.mel_bands).size
        return form_at(place_after(_EARLY_HALVINGS), self.channels // 4 * bands)

    def early_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels / 4, bands, times): the second stage."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(image_of(inputs.mel, 1)))))
        early: Tensor = self.layer2(self.layer1(x))
        return early

    def initialise(self) -> None:
        """The published initial weights of FSD50K's ResNets."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, 0.02)

    def load_imagenet(self, depth: Depth) -> None:
        """Weights of torchvision; FetchError where there are none."""
        version = torchvision.models.get_model_weights(f"resnet{depth}")["IMAGENET1K_V1"]
        weights = read_imagenet_weights(version.url)
        load_trunk(self, weights | {"conv1.weight": sum_over_colours(weights["conv1.weight"])}, ("fc.",))


class ResNet(_Trunk):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with a frame per 32 mel frames."""

    HEAD: ClassVar[tuple[str, ...]] = ("fc.",)

    def __init__(self, options: ResNetOptions, shape: InputShape, num_classes: int) -> None:
        options.require_fit(shape)
        super().__init__(options, shape.mel_bands)
        self.options = options
        self.fc = LinearHead(self.channels, num_classes)
        self.initialise()

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        predictions: Predictions = self.fc(self.feature_map(inputs.mel))
        return predictions

    def load_pretrained(self) -> None:
        """The initial weights that the options name, if any; FetchError when they cannot be had."""
        if self.options.pretrained:
            self.load_imagenet(self.options.depth)


class ResNetAttention(nn.Module):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with a frame per 32 mel frames."""

    HEAD: ClassVar[tuple[str, ...]] = ("attention.",)
    EMBEDDINGS: ClassVar[tuple[str, ...]] = _Trunk.EMBEDDINGS

    def __init__(self, options: ResNetAttentionOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options = options
        self.model = _Trunk(options, shape.mel_bands)
        self.attention = options.build_psla_head(self.model.channels, num_classes)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        predictions: Predictions = self.attention(self.model.feature_map(inputs.mel))
        return predictions

    def embedding_form(self, output: str) -> EmbeddingForm:
        """What the trunk's embedding of that name looks like."""
        return self.model.embedding_form(output)

    def embed(self, inputs: Inputs, output: str) -> Tensor:
        """Inputs -> (batch, embedding_frames, embedding_dim)."""
        return self.model.embed(inputs, output)

    def load_pretrained(self) -> None:
        """The initial weights that the options name, if any; FetchError when they cannot be had."""
        if self.options.pretrained:
            self.model.load_imagenet(self.options.depth)
