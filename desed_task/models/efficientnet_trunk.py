"""The convolutions of EfficientNet-B0 to B7 for one input channel, under the names of the published PyTorch port.

Every strided convolution pads as TensorFlow would pad a square photograph of `image_size`, computed once and used for
every input (the published port, and so PSLA and GISE-51). timm computes it from the input: the same weights give the
same numbers only for input of `image_size`. Widths and depths are those of Tan and Le 2019 (arXiv 1905.11946).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import StochasticDepth

from desed_task.models.image_input import least_size
from desed_task.models.layer_geometry import Layer

_BATCH_NORM_EPS = 1e-3
# Stages until the last that has at most 8 mel frames per step.
_EARLY_STAGES = 3
_STEM_FILTERS, _HEAD_FILTERS = 32, 1280
_SQUEEZE = 0.25  # channels of the squeeze, as a share of those that enter the block


class _Stage(NamedTuple):
    layers: int
    kernel_size: int
    stride: int
    expansion: int
    filters: int


# Of B0.
_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class TrunkShape:
    """width, depth: factors on the filters and on the layers of B0; image_size: what paddings are computed for."""

    width: float
    depth: float
    image_size: int

    @property
    def channels(self) -> int:
        """What the last convolution gives."""
        return self.filters(_HEAD_FILTERS)

    def filters(self, of_b0: int) -> int:
        """The nearest multiple of 8 that is not below 90 % of the scaled number."""
        scaled = of_b0 * self.width
        nearest = max(8, int(scaled + 4) // 8 * 8)
        return nearest if nearest >= 0.9 * scaled else nearest + 8

    def blocks(self) -> Iterator[_Block]:
        """Every block, in order."""
        channels, size = self.filters(_STEM_FILTERS), math.ceil(self.image_size / 2)
        for index, stage in enumerate(_STAGES):
            for layer in range(math.ceil(stage.layers * self.depth)):
                stride = 1 if layer else stage.stride
                filters = self.filters(stage.filters)
                padding = _same_padding(size, stage.kernel_size, stride)
                yield _Block((index, layer), channels, filters, stage.kernel_size, stride, padding, stage.expansion)
                channels, size = filters, math.ceil(size / stride)

    @property
    def stem_padding(self) -> int:
        """Rows, and columns, that the first convolution adds."""
        return _same_padding(self.image_size, 3, 2)

    def layers(self, num_blocks: int | None = None) -> list[Layer]:
        """The stem and the first blocks, or all, along one axis."""
        padded = [(3, 2, self.stem_padding)]
        padded += [(block.kernel_size, block.stride, block.padding) for block in list(self.blocks())[:num_blocks]]
        return [Layer(size, stride, rows // 2, rows - rows // 2) for size, stride, rows in padded]

    @property
    def early_blocks(self) -> int:
        """Blocks until the last that has at most 8 mel frames per step."""
        return sum(block.place[0] < _EARLY_STAGES for block in self.blocks())

    @property
    def early_channels(self) -> int:
        """What the last of these gives."""
        return self.filters(_STAGES[_EARLY_STAGES - 1].filters)

    @property
    def least_size(self) -> int:
        """Mel frames, and mel bands, of which something is left."""
        return least_size(self._size_after)

    def _size_after(self, size: int) -> int:
        size = (size + self.stem_padding - 3) // 2 + 1
        for block in self.blocks():
            size = (size + block.padding - block.kernel_size) // block.stride + 1 if size > 0 else 0
        return size


class _Block(NamedTuple):
    """place: stage and layer in it; padding: rows, and columns, that the depthwise convolution adds."""

    place: tuple[int, int]
    channels: int
    filters: int
    kernel_size: int
    stride: int
    padding: int
    expansion: int


class EfficientNetTrunk(nn.Module):
    """(batch, 1, mel_bands, mel_frames) -> (batch, channels, rows, frames), each a 32nd."""

    def __init__(self, shape: TrunkShape, drop_connect: float, batch_norm_momentum: float) -> None:
        super().__init__()
        self.shape = shape
        stem = shape.filters(_STEM_FILTERS)
        self._conv_stem = _PaddedConvolution(1, stem, 3, 2, shape.stem_padding)
        self._bn0 = nn.BatchNorm2d(stem, eps=_BATCH_NORM_EPS)
        blocks = list(shape.blocks())
        self._blocks = nn.ModuleList(
            _InvertedBottleneck(block, drop_connect * index / len(blocks)) for index, block in enumerate(blocks)
        )
        self._conv_head = nn.Conv2d(blocks[-1].filters, shape.channels, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(shape.channels, eps=_BATCH_NORM_EPS)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = batch_norm_momentum

    def forward(self, x: Tensor) -> Tensor:
        """Image -> feature map, see the class."""
        return functional.silu(self._bn1(self._conv_head(self._through(x, len(self._blocks)))))

    def early_map(self, x: Tensor) -> Tensor:
        """(batch, 1, mel_bands, mel_frames) -> (batch, early_channels, rows, times), each an 8th."""
        return self._through(x, self.shape.early_blocks)

    def _through(self, x: Tensor, num_blocks: int) -> Tensor:
        x = functional.silu(self._bn0(self._conv_stem(x)))
        for block in list(self._blocks)[:num_blocks]:
            x = block(x)
        return x

    def names_in_timm(self) -> Mapping[str, str]:
        """Beginnings of our parameters' names -> those of timm's EfficientNet."""
        names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
        for index, block in enumerate(self.shape.blocks()):
            for ours, theirs in (_TIMM_FIRST if block.expansion == 1 else _TIMM_LATER).items():
                names[f"_blocks.{index}.{ours}"] = f"blocks.{block.place[0]}.{block.place[1]}.{theirs}"
        return names


class _InvertedBottleneck(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection; around them the input where it fits."""

    def __init__(self, block: _Block, drop: float) -> None:
        super().__init__()
        inner = block.channels * block.expansion
        squeezed = max(1, int(block.channels * _SQUEEZE))
        self.expands = block.expansion != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(block.channels, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_BATCH_NORM_EPS)
        self._depthwise_conv = _PaddedConvolution(
            inner, inner, block.kernel_size, block.stride, block.padding, groups=inner
        )
        self._bn1 = nn.BatchNorm2d(inner, eps=_BATCH_NORM_EPS)
        self._se_reduce = nn.Conv2d(inner, squeezed, 1)
        self._se_expand = nn.Conv2d(squeezed, inner, 1)
        self._project_conv = nn.Conv2d(inner, block.filters, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(block.filters, eps=_BATCH_NORM_EPS)
        self.keeps_input = block.stride == 1 and block.channels == block.filters
        self.drop_connect = StochasticDepth(drop, mode="row")

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, filters, height / stride, width / stride)."""
        inner = functional.silu(self._bn0(self._expand_conv(x))) if self.expands else x
        inner = functional.silu(self._bn1(self._depthwise_conv(inner)))
        squeezed = functional.silu(self._se_reduce(inner.mean(dim=(2, 3), keepdim=True)))
        inner = inner * torch.sigmoid(self._se_expand(squeezed))
        projected: Tensor = self._bn2(self._project_conv(inner))
        return self.drop_connect(projected) + x if self.keeps_input else projected


class _PaddedConvolution(nn.Conv2d):
    """A convolution that adds `rows` rows and columns of zeros, the odd one at the end."""

    def __init__(self, channels: int, filters: int, kernel_size: int, stride: int, rows: int, groups: int = 1) -> None:
        super().__init__(channels, filters, kernel_size, stride, padding=rows // 2, groups=groups, bias=False)
        self.at_the_end = rows % 2

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch, filters, height, width), strided."""
        if self.at_the_end:
            x = functional.pad(x, (0, 1, 0, 1))
        return super().forward(x)


def _same_padding(size: int, kernel_size: int, stride: int) -> int:
    """What TensorFlow's SAME adds to `size` so that ceil(size / stride) is left."""
    return max((math.ceil(size / stride) - 1) * stride + kernel_size - size, 0)


_TIMM_FIRST = {
    **{"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"},
    **{"_project_conv": "conv_pw", "_bn2": "bn2"},
}
_TIMM_LATER = {
    **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
    **{"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand", "_project_conv": "conv_pwl", "_bn2": "bn3"},
}
