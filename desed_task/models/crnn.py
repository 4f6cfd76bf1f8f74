"""The CRNN of the DESED baselines (DCASE Task 4, 2019-2024): convolutions, a bidirectional GRU, attention pooling.

With default options it has 1,112,420 parameters and turns 626 mel frames into 156 frames. Parameter names are those of
the published checkpoints. Clip probabilities are an attention-weighted mean of frame probabilities, the attention being
a softmax over the CLASS axis, as published.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.models.blocks import Activation, ConvolutionBlocks
from desed_task.models.dropout import Dropout
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import FrameEmbeddings, form_of_groups
from desed_task.models.fusion import Fusion, FusionOptions
from desed_task.models.tagger import InputShape
from desed_task.options import Options

_Count = Annotated[int, Field(ge=1)]
# Attention weights below this count as this (the published clamp); probabilities are kept off 0 and 1 by the same.
ATTENTION_FLOOR = 1e-7


class CRNNOptions(Options):
    """The baseline CRNN; one entry of nb_filters and pooling per convolution block."""

    name: Literal["crnn"] = "crnn"
    nb_filters: tuple[_Count, ...] = Field(
        (16, 32, 64, 128, 128, 128, 128), min_length=1, description="Filters of each block."
    )
    pooling: tuple[tuple[_Count, _Count], ...] = Field(
        ((2, 2), (2, 2), (1, 2), (1, 2), (1, 2), (1, 2), (1, 2)), description="Pooling of each block: time, frequency."
    )
    kernel_size: int = Field(3, ge=1, description="Width of the square convolution kernels; odd.")
    activation: Activation = Field("glu", description="Activation after each convolution.")
    dropout: float = Field(0.5, ge=0, lt=1, description="Dropout after each block and after the GRU.")
    batch_norm_momentum: float = Field(
        0.1, gt=0, le=1, description="Share of the newest batch in the running statistics; the published value is .99."
    )
    n_rnn_cell: int = Field(128, ge=1, description="GRU units per direction.")
    rnn_layers: int = Field(2, ge=1, description="GRU layers.")
    dropout_recurrent: float = Field(0.0, ge=0, lt=1, description="Dropout between GRU layers.")
    attention: bool = Field(True, description="Attention pooling of frame probabilities; false takes their mean.")
    fusion: FusionOptions | None = Field(None, description="How embeddings join the features; null hears none.")

    @model_validator(mode="after")
    def _consistent(self) -> CRNNOptions:
        if len(self.nb_filters) != len(self.pooling):
            raise ValueError(
                f"nb_filters has {len(self.nb_filters)} entries and pooling {len(self.pooling)}; give equal numbers"
            )
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is even; take an odd one")
        if self.dropout_recurrent and self.rnn_layers == 1:
            raise ValueError("dropout_recurrent acts between GRU layers and rnn_layers is 1; set one of them otherwise")
        return self

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        product = 1
        for time, _ in self.pooling:
            product *= time
        return product

    def require_fit(self, shape: InputShape) -> None:
        """ValueError when the pooling leaves no band."""
        if self.bands_left(shape.mel_bands) < 1:
            raise ValueError(
                f"model.pooling leaves nothing of features.n_mels {shape.mel_bands}; pool less or take more bands"
            )

    def bands_left(self, n_mels: int) -> int:
        """Frequency bands after the last block."""
        for _, frequency in self.pooling:
            n_mels //= frequency
        return n_mels


class _Recurrent(nn.Module):
    """A bidirectional GRU under the name the published checkpoints give it (`rnn.rnn.*`)."""

    def __init__(self, features: int, options: CRNNOptions) -> None:
        super().__init__()
        self.rnn = nn.GRU(
            features,
            options.n_rnn_cell,
            num_layers=options.rnn_layers,
            dropout=options.dropout_recurrent,
            bidirectional=True,
            batch_first=True,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, frames, features) -> (batch, frames, 2 * cells)."""
        output: Tensor = self.rnn(x)[0]
        return output


class CRNN(nn.Module, FrameEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with mel_frames // time_pooling frames.

    With a fusion it hears clips of one length, that of its `shape`, and their embeddings.
    """

    def __init__(self, options: CRNNOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options = options
        self.cnn = ConvolutionBlocks(
            1,
            options.nb_filters,
            options.kernel_size,
            options.pooling,
            options.activation,
            options.dropout,
            options.batch_norm_momentum,
        )
        width = options.nb_filters[-1] * options.bands_left(shape.mel_bands)
        if options.fusion is not None:
            frames = shape.mel_frames // options.time_pooling
            self.fusion = Fusion(options.fusion, shape.embeddings, width, frames, options.time_pooling)
        self.rnn = _Recurrent(width, options)
        self.dropout = Dropout(options.dropout)
        self.dense = nn.Linear(2 * options.n_rnn_cell, num_classes)
        if options.attention:
            self.dense_softmax = nn.Linear(2 * options.n_rnn_cell, num_classes)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        x = self.dropout(self.embed_frames(inputs))
        with torch.autocast(x.device.type, enabled=False):  # scores and losses stay in float32 in mixed precision
            return self._heads(x.to(self.dense.weight.dtype))

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        return form_of_groups(self.options.time_pooling, 2 * self.options.n_rnn_cell)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, frames, 2 * cells): what the GRU says."""
        x = self.cnn(inputs.mel.unsqueeze(1))
        x = x.permute(0, 2, 1, 3).flatten(2)
        if self.options.fusion is not None:
            x = self.fusion(x, inputs.embeddings)
        heard: Tensor = self.rnn(x)
        return heard

    def _heads(self, x: Tensor) -> Predictions:
        """(batch, frames, 2 * cells) -> Predictions."""
        strong_logits = self.dense(x)
        strong = torch.sigmoid(strong_logits)
        if self.options.attention:
            attention = torch.softmax(self.dense_softmax(x), dim=-1).clamp(ATTENTION_FLOOR, 1.0)
            weak = (strong * attention).sum(dim=1) / attention.sum(dim=1)
        else:
            weak = strong.mean(dim=1)
        return Predictions(strong_logits, torch.logit(weak, eps=ATTENTION_FLOOR))
