"""The CRNN tagger of FSD50K (Fonseca et al. 2022, arXiv 2010.00475, section 5.B): 948,680 parameters, 200 classes.

Three 5 x 5 convolutions padded by 1, ReLU, batch norm, max pooling of (bands, mel frames), a bidirectional LSTM and a
linear layer. As published, the layer's output at the last time step scores the clip, where the forward half has heard
all of it and the backward half a single step; at the other steps it scores the frames. Convolutions shorten the input,
so that the first frame lies .875 of a frame late; it is repeated once in front. Parameter names are those of
fsd50k-pytorch, which takes 96 mel bands only; bands that are left over are averaged here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import FrameEmbeddings, form_at
from desed_task.models.image_input import image_of, least_size, require_bands
from desed_task.models.layer_geometry import Layer, place_after
from desed_task.models.tagger import InputShape
from desed_task.options import Options

_Count = Annotated[int, Field(ge=1)]
_KERNEL_SIZE, _PADDING = 5, 1
_LOST = _KERNEL_SIZE - 1 - 2 * _PADDING


class Fsd50kCRNNOptions(Options):
    """FSD50K's CRNN; one entry of nb_filters and pooling per convolution."""

    name: Literal["fsd50k_crnn"] = "fsd50k_crnn"
    nb_filters: tuple[_Count, ...] = Field((128, 128, 128), min_length=1, description="Filters of each convolution.")
    pooling: tuple[tuple[_Count, _Count], ...] = Field(
        ((2, 5), (2, 4), (2, 2)), description="Max pooling after each convolution: time, frequency."
    )
    n_rnn_cell: int = Field(64, ge=1, description="LSTM units per direction.")

    @model_validator(mode="after")
    def _consistent(self) -> Fsd50kCRNNOptions:
        if len(self.nb_filters) != len(self.pooling):
            raise ValueError(
                f"nb_filters has {len(self.nb_filters)} entries and pooling {len(self.pooling)}; give equal numbers"
            )
        return self

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        product = 1
        for time, _ in self.pooling:
            product *= time
        return product

    @property
    def least_frames(self) -> int:
        """Mel frames that make a step of the LSTM."""
        return least_size(lambda size: _size_after(size, tuple(time for time, _ in self.pooling)))

    @property
    def frames_late(self) -> int:
        """Frames by which the first is later than it should be, rounded: (what a step hears - a frame) / 2 - padding.

        With h mel frames heard before a layer, convolutions add 4 * stride to what is heard and pad stride in front.
        """
        heard, padded, stride = 1, 0, 1
        for time, _ in self.pooling:
            heard += (_KERNEL_SIZE - 1 + time - 1) * stride
            padded += _PADDING * stride
            stride *= time
        return round(((heard - stride) / 2 - padded) / stride)

    def require_fit(self, shape: InputShape) -> None:
        """ValueError when there are too few mel bands."""
        bands = least_size(lambda size: _size_after(size, tuple(frequency for _, frequency in self.pooling)))
        require_bands(shape, bands, "the CRNN of FSD50K")


class _ConvolutionBlock(nn.Module):
    """Convolution, ReLU, batch norm, in this order."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, _KERNEL_SIZE, padding=_PADDING)
        self.bn = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, bands, mel_frames) -> (batch, filters, bands - 2, mel_frames - 2)."""
        normalised: Tensor = self.bn(self.conv(x).relu())
        return normalised


class _Recurrent(nn.Module):
    """The LSTM and the linear layer under their published names (`rnn.rnn.*`, `rnn.embedding.*`)."""

    def __init__(self, channels: int, cells: int, num_classes: int) -> None:
        super().__init__()
        self.rnn = nn.LSTM(channels, cells, bidirectional=True, batch_first=True)
        self.embedding = nn.Linear(2 * cells, num_classes)

    def hear(self, x: Tensor) -> Tensor:
        """(batch, frames, channels) -> (batch, frames, 2 * cells)."""
        heard: Tensor = self.rnn(x)[0]
        return heard

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, channels) -> logits (batch, frames, classes)."""
        x = self.hear(x)
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.embedding(x.to(self.embedding.weight.dtype))
            return logits


class Fsd50kCRNN(nn.Module, FrameEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with a frame per 8 mel frames."""

    HEAD: ClassVar[tuple[str, ...]] = ("rnn.embedding.",)

    def __init__(self, options: Fsd50kCRNNOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options = options
        self.least_frames, self.frames_late = options.least_frames, options.frames_late
        self.cnn = nn.Sequential()
        channels = 1
        for index, (filters, (time, frequency)) in enumerate(zip(options.nb_filters, options.pooling, strict=True)):
            self.cnn.add_module(f"cnn_block{index}", _ConvolutionBlock(channels, filters))
            self.cnn.add_module(f"pooling{index}", nn.MaxPool2d((frequency, time)))
            channels = filters
        self.rnn = _Recurrent(channels, options.n_rnn_cell, num_classes)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        strong = self.rnn(self._feature_map(inputs))
        in_front = strong[:, :1].expand(-1, self.frames_late, -1)
        return Predictions(torch.cat([in_front, strong], dim=1), strong[:, -1])

    def _feature_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, frames, channels), the mean over frequency."""
        averaged: Tensor = self.cnn(image_of(inputs.mel, self.least_frames)).mean(dim=2)
        return averaged.transpose(1, 2)

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        layers = [
            layer for time, _ in self.options.pooling for layer in (Layer(_KERNEL_SIZE, 1, _PADDING), Layer(time, time))
        ]
        return form_at(place_after(layers), 2 * self.options.n_rnn_cell)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, 2 * cells): what the LSTM says."""
        return self.rnn.hear(self._feature_map(inputs))


def _size_after(size: int, pooling: tuple[int, ...]) -> int:
    for pool in pooling:
        size = (size - _LOST) // pool
    return size
