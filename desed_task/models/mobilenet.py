"""MobileNetV3 of EfficientAT (Schmid et al. 2023, arXiv 2211.04772): mn04, mn10, mn40 and any other width.

Convolution blocks are torchvision's; squeeze and excitation is the published one, linear maps and a plain sigmoid in
place of convolutions and a hard sigmoid. Parameter names are those of the 312 tensors of the published checkpoints, so
`mn10_as_mAP_471.pt` loads by name. With 527 classes: mn04 983,599 parameters, mn10 4,876,831, mn40 68,427,303.

Time and frequency are divided by 32: 1000 mel frames x 128 bands become 32 frames of 4 bands, 320 ms each at the
published hop of 10 ms. The clip is the published head on the mean over time and frequency; a frame is the same head on
its mean over frequency, which the published code does not give.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision.models.mobilenetv3 import InvertedResidual, InvertedResidualConfig
from torchvision.ops.misc import Conv2dNormActivation

from desed_task.batch import Inputs, Predictions
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import EarlyEmbeddings, form_at
from desed_task.models.layer_geometry import Layer, place_after
from desed_task.models.precision import dtype_of
from desed_task.models.tagger import InputShape
from desed_task.options import Options

# Channels in, kernel, expanded channels, channels out, squeeze and excitation, activation, stride (at width 1).
_BLOCKS: tuple[tuple[int, int, int, int, bool, str, int], ...] = (
    (16, 3, 16, 16, False, "RE", 1),
    (16, 3, 64, 24, False, "RE", 2),
    (24, 3, 72, 24, False, "RE", 1),
    (24, 5, 72, 40, True, "RE", 2),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 5, 120, 40, True, "RE", 1),
    (40, 3, 240, 80, False, "HS", 2),
    (80, 3, 200, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 184, 80, False, "HS", 1),
    (80, 3, 480, 112, True, "HS", 1),
    (112, 3, 672, 112, True, "HS", 1),
    (112, 5, 672, 160, True, "HS", 2),
    (160, 5, 960, 160, True, "HS", 1),
    (160, 5, 960, 160, True, "HS", 1),
)
_LAST_EXPANSION = 6
_HIDDEN_CHANNELS = 1280
_TIME_POOLING = 32
# The stem and each block along one axis; the map after block 6, the last with 8 mel frames per step, is `early`.
_LAYERS = (Layer(3, 2, 1), *[Layer(kernel, stride, kernel // 2) for _, kernel, _, _, _, _, stride in _BLOCKS])
_EARLY = 1 + 6


class MobileNetOptions(Options):
    """MobileNetV3-large of EfficientAT."""

    name: Literal["mobilenet"] = "mobilenet"
    width: float = Field(1.0, gt=0, description="Factor of all channels: 0.4 is mn04, 1 is mn10, 4 is mn40.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before the last layer.")
    batch_norm_momentum: float = Field(
        0.01,
        gt=0,
        le=1,
        description="Share of the newest batch in the running statistics; .01 as published, too slow for small data.",
    )

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return _TIME_POOLING

    def require_fit(self, shape: InputShape) -> None:
        """Any shape fits: every stride rounds up."""


class _SqueezeExcitation(nn.Module):
    """Scales channels by what their means over time and frequency say."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        scale = torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean(dim=(2, 3))))))
        return x * scale[:, :, None, None]


class _ConcurrentSqueezeExcitation(nn.Module):
    """Squeeze and excitation under the name of the published list, which could hold others beside the channels'."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.conc_se_layers = nn.ModuleList([_SqueezeExcitation(channels, squeezed)])

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        excited: Tensor = self.conc_se_layers[0](x)
        return excited


class MobileNet(nn.Module, EarlyEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with ceil(mel_frames / 32) frames."""

    HEAD: ClassVar[tuple[str, ...]] = ("classifier.5.",)

    def __init__(self, options: MobileNetOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options, self.mel_bands = options, shape.mel_bands
        self.features, channels = _build_features(options.width, options.batch_norm_momentum)
        self.channels = channels
        hidden = InvertedResidualConfig.adjust_channels(_HIDDEN_CHANNELS, options.width)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.Hardswish(),
            nn.Dropout(options.dropout),
            nn.Linear(hidden, num_classes),
        )
        self.apply(_initialise)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        x = self.features(_image_of(inputs))
        with torch.autocast(x.device.type, enabled=False):  # scores stay in float32 in mixed precision
            x = x.to(dtype_of(self.classifier))
            strong = self.classifier[2:](x.mean(dim=2).transpose(1, 2))
            return Predictions(strong, self.classifier(x))

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        return form_at(place_after(_LAYERS), self.channels)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, channels)."""
        features: Tensor = self.features(_image_of(inputs))
        return features.mean(dim=2).transpose(1, 2)

    def early_form(self) -> EmbeddingForm:
        """What the embedding `early` looks like."""
        layers = _LAYERS[:_EARLY]
        _, _, _, published, *_ = _BLOCKS[_EARLY - 2]
        channels = InvertedResidualConfig.adjust_channels(published, self.options.width)
        return form_at(place_after(layers), channels * place_after(layers, self.mel_bands).size)

    def early_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels, bands, times)."""
        x = _image_of(inputs)
        for part in list(self.features)[:_EARLY]:
            x = part(x)
        return x


def _image_of(inputs: Inputs) -> Tensor:
    """Inputs -> (batch, 1, mel_bands, mel_frames)."""
    return inputs.mel.transpose(1, 2).unsqueeze(1)


def _build_features(width: float, momentum: float) -> tuple[nn.Sequential, int]:
    """(batch, 1, mel_bands, mel_frames) -> (batch, channels, bands left, frames), and the number of channels."""
    norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=momentum)
    block = partial(InvertedResidual, norm_layer=norm, se_layer=_ConcurrentSqueezeExcitation)
    settings = [InvertedResidualConfig(*row, dilation=1, width_mult=width) for row in _BLOCKS]
    first, last = settings[0].input_channels, settings[-1].out_channels
    activated = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=nn.Hardswish)
    channels = _LAST_EXPANSION * last
    features = nn.Sequential(
        activated(1, first, kernel_size=3, stride=2),
        *(block(setting) for setting in settings),
        activated(last, channels, kernel_size=1),
    )
    return features, channels


def _initialise(module: nn.Module) -> None:
    """Kaiming's weights for convolutions, small ones for linear maps, as published."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out")
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.01)
        nn.init.zeros_(module.bias)
