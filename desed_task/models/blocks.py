"""Building blocks of the convolutional models: gated activations and the CRNN's seven convolution blocks.

Names of parameters follow the published DESED baselines (`cnn.conv0.weight`, `cnn.batchnorm0.weight`,
`cnn.glu0.linear.weight` ...), so that their checkpoints load by name.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from desed_task.models.dropout import Dropout, is_traced
from desed_task.models.gate_and_pool import gate_and_pool

Activation = Literal["glu", "cg", "relu", "leakyrelu"]
_LAYERS_OF_A_BLOCK = 5


class _ChannelLinear(nn.Module):
    """A linear map over the channels of (batch, channels, mel_frames, mel_bands), the parameters of an nn.Linear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)

    def map(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.linear.weight[:, :, None, None], self.linear.bias)


class GLU(_ChannelLinear):
    """linear(x) * sigmoid(x): the baseline's gated linear unit, whose gate is the raw input."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return self.map(x) * torch.sigmoid(x)


class ContextGating(_ChannelLinear):
    """x * sigmoid(linear(x)) (Miech et al. 2017, arXiv 1706.06905)."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as x."""
        return x * torch.sigmoid(self.map(x))


class ConvolutionBlocks(nn.Module):
    """Conv - batch norm - activation - dropout - average pool, once per entry of `nb_filters`.

    (batch, channels, mel_frames, mel_bands) -> (batch, nb_filters[-1], frames, bands left).
    """

    def __init__(
        self,
        in_channels: int,
        nb_filters: tuple[int, ...],
        kernel_size: int,
        pooling: tuple[tuple[int, int], ...],
        activation: Activation,
        dropout: float,
        batch_norm_momentum: float,
    ) -> None:
        super().__init__()
        self.cnn = nn.Sequential()
        channels = in_channels
        for block, (filters, pool) in enumerate(zip(nb_filters, pooling, strict=True)):
            add = self.cnn.add_module
            add(f"conv{block}", nn.Conv2d(channels, filters, kernel_size, padding=kernel_size // 2))
            add(f"batchnorm{block}", nn.BatchNorm2d(filters, eps=1e-3, momentum=batch_norm_momentum))
            name, module = _activation(activation, filters)
            add(f"{name}{block}", module)
            add(f"dropout{block}", Dropout(dropout))
            add(f"pooling{block}", nn.AvgPool2d(pool))
            channels = filters

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, mel_frames, mel_bands) -> (batch, filters, frames, bands left)."""
        layers: list[Any] = list(self.cnn)
        for first in range(0, len(layers), _LAYERS_OF_A_BLOCK):
            convolution, norm, *rest = layers[first : first + _LAYERS_OF_A_BLOCK]
            x = self._activate_and_pool(norm(convolution(x)), *rest)
        return x

    def _activate_and_pool(self, x: Tensor, activation: nn.Module, dropout: Dropout, pooling: nn.AvgPool2d) -> Tensor:
        if isinstance(activation, GLU) and self.training and x.device.type == "cpu" and not is_traced():
            linear = activation.linear
            pool: Any = pooling.kernel_size
            return gate_and_pool(x, linear.weight, linear.bias, pool, dropout.levels_kept, dropout.scale)
        pooled: Tensor = pooling(dropout(activation(x)))
        return pooled


def _activation(name: Activation, channels: int) -> tuple[str, nn.Module]:
    if name == "glu":
        return "glu", GLU(channels)
    if name == "cg":
        return "cg", ContextGating(channels)
    return (name, nn.ReLU()) if name == "relu" else (name, nn.LeakyReLU(0.2))
