"""TALNet and TALtrans of AudioTagging Done Right (Li et al. 2022, arXiv 2203.13448; Wang et al. 2019, TALNet).

A trunk of convolutions with pools spread evenly among them, then a bidirectional GRU (`tal`), or one encoder block that
is applied n_trans_layers times (`taltrans`), normalised last, with 8 heads; then scores per frame and their pooling
(models/frame_scores.py). Parameter names are those of the published checkpoints. Counts with 527 classes: TALNet
10,520,702 (64 bands, embedding 1024) and 25,761,918 (128 bands, 2048), TALtrans 12,097,662 (64 bands, 1024).

The first two pools halve time and frequency, the others frequency alone: 400 mel frames are 100 frames. After a pool
`embedding_size` features of a frame are left, between pools twice as many. With `addpos`, TALtrans hears its input
times 8 plus sinusoids; the published code has these for clips up to its training length, ours for any.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from desed_task.batch import Inputs, Predictions
from desed_task.models.dropout import Dropout
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import FrameEmbeddings, form_of_groups
from desed_task.models.frame_scores import HEAD, add_frame_scores, score_frames_and_pool
from desed_task.models.lengths import prolonged
from desed_task.models.pooling import PoolingName
from desed_task.models.positions import add_sinusoids
from desed_task.models.tagger import InputShape
from desed_task.options import Options

_Width = Annotated[int, Field(ge=1)]
_HEADS = 8
_INPUT_SCALE = 8.0
_TIME_POOLS = 2


class TALNetOptions(Options):
    """TALNet: convolutions, a bidirectional GRU, scores of frames and their pooling."""

    name: Literal["tal"] = "tal"
    embedding_size: int = Field(1024, ge=2, description="Features of a frame after each pool and of the GRU.")
    n_conv_layers: int = Field(10, ge=1, description="Convolutions.")
    n_pool_layers: int = Field(5, ge=1, description="Pools, spread evenly among the convolutions.")
    kernel_size: tuple[_Width, _Width] = Field((3, 3), description="Convolution kernels: time, frequency; odd.")
    batch_norm: bool = Field(True, description="Batch norm after each convolution.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before each layer and the head.")
    pooling: PoolingName = Field("lin", description="From the frames' probabilities to the clip's.")

    @model_validator(mode="after")
    def _consistent(self) -> TALNetOptions:
        if self.n_conv_layers % self.n_pool_layers:
            raise ValueError(
                f"n_conv_layers {self.n_conv_layers} is no multiple of n_pool_layers {self.n_pool_layers}; "
                "pools are spread evenly among the convolutions"
            )
        if not all(width % 2 for width in self.kernel_size):
            raise ValueError(f"kernel_size {list(self.kernel_size)} is even; take odd ones")
        if self.embedding_size % 2:
            raise ValueError(f"embedding_size {self.embedding_size} is odd; the GRU gives half of it per direction")
        return self

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 1 << min(self.n_pool_layers, _TIME_POOLS)

    def require_fit(self, shape: InputShape) -> None:
        """ValueError where the pools leave no bands, or the embedding is too small for the bands or does not divide."""
        bands = shape.mel_bands >> self.n_pool_layers
        if bands < 1:
            raise ValueError(
                f"model {self.name}: {self.n_pool_layers} pools leave nothing of {shape.mel_bands} mel bands"
            )
        if 2 * self.embedding_size < shape.mel_bands:
            raise ValueError(
                f"model {self.name}: embedding_size {self.embedding_size} leaves no channel for {shape.mel_bands} mel "
                f"bands; take at least {-(-shape.mel_bands // 2)}"
            )
        if self.embedding_size % bands:
            raise ValueError(
                f"model {self.name}: embedding_size {self.embedding_size} is no multiple of the {bands} bands that are "
                f"left of {shape.mel_bands}"
            )


class TALTransOptions(TALNetOptions):
    """TALtrans: convolutions, a tied encoder block, scores of frames and their pooling."""

    name: Literal["taltrans"] = "taltrans"  # type: ignore[assignment]
    n_trans_layers: int = Field(2, ge=1, description="How often the one encoder block is applied.")
    transformer_dropout: float = Field(0.5, ge=0, lt=1, description="Dropout in the encoder block.")
    addpos: bool = Field(False, description="Add sinusoids to the input, which is then scaled by 8.")

    @model_validator(mode="after")
    def _divisible(self) -> TALTransOptions:
        if self.embedding_size % _HEADS:
            raise ValueError(f"embedding_size {self.embedding_size} is no multiple of the {_HEADS} attention heads")
        return self


class _ConvBlock(nn.Module):
    """Convolution - batch norm - ReLU - max pool. (batch, channels_in, time, bands) -> (batch, channels, .., ..)."""

    def __init__(self, channels_in: int, channels: int, options: TALNetOptions, pool: tuple[int, int]) -> None:
        super().__init__()
        kernel, self.pool = options.kernel_size, pool
        # Its bias stays with batch norm too: the published `~batch_norm` is never false.
        self.conv = nn.Conv2d(channels_in, channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        nn.init.xavier_uniform_(self.conv.weight)
        if options.batch_norm:
            self.bn = nn.BatchNorm2d(channels)
        self.has_norm = options.batch_norm

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = torch.relu(self.bn(x) if self.has_norm else x)
        return x if self.pool == (1, 1) else functional.max_pool2d(x, self.pool)


class _Trunk(nn.Module, FrameEmbeddings):
    """The convolutions under the name `conv`, and what stands before and after them."""

    HEAD: ClassVar[tuple[str, ...]] = HEAD

    def __init__(self, options: TALNetOptions, shape: InputShape) -> None:
        super().__init__()
        options.require_fit(shape)
        self.frame_pooling: PoolingName = options.pooling
        self.shortest, self.embedding_size = options.time_pooling, options.embedding_size
        self.conv = nn.ModuleList(_build_convolutions(options, shape.mel_bands))
        self.dropout = Dropout(options.dropout)

    def convolve(self, mel: Tensor) -> Tensor:
        """(batch, mel_frames, mel_bands) -> (batch, frames, embedding_size)."""
        x = mel.unsqueeze(1)
        for block in self.conv:
            x = block(self.dropout(x))
        features: Tensor = self.dropout(x.transpose(1, 2).flatten(2))
        return features

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        return score_frames_and_pool(self, self.dropout(self.embed_frames(inputs)), self.frame_pooling)

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        return form_of_groups(self.shortest, self.embedding_size)


class TALNet(_Trunk):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with mel_frames // time_pooling frames, at least 1."""

    def __init__(self, options: TALNetOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__(options, shape)
        self.options = options
        self.gru = nn.GRU(options.embedding_size, options.embedding_size // 2, batch_first=True, bidirectional=True)
        add_frame_scores(self, options.embedding_size, num_classes, options.pooling)
        for name, values in self.gru.named_parameters():
            nn.init.orthogonal_(values) if name.startswith("weight") else nn.init.zeros_(values)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, frames, embedding_size): what the GRU says."""
        heard: Tensor = self.gru(self.convolve(prolonged(inputs.mel, self.shortest)))[0]
        return heard


class TALTrans(_Trunk):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with mel_frames // time_pooling frames, at least 1."""

    def __init__(self, options: TALTransOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__(options, shape)
        self.options = options
        self.enc_layer = _EncoderLayer(options.embedding_size, options.transformer_dropout)
        for values in self.parameters():
            if values.dim() > 1:
                nn.init.xavier_uniform_(values)
        add_frame_scores(self, options.embedding_size, num_classes, options.pooling)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, frames, embedding_size): what the encoder says."""
        mel = prolonged(inputs.mel, self.shortest)
        x = self.convolve(add_sinusoids(_INPUT_SCALE * mel) if self.options.addpos else mel)
        for _ in range(self.options.n_trans_layers):
            x = self.enc_layer(x)
        return x


class _EncoderLayer(nn.Module):
    """norm(x + attention(x)), then norm(x + mlp(x)). (batch, frames, dim) -> (batch, frames, dim)."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.slf_attn, self.pos_ffn = _SelfAttention(dim, dropout), _FeedForward(dim, dropout)

    def forward(self, x: Tensor) -> Tensor:
        fed: Tensor = self.pos_ffn(self.slf_attn(x))
        return fed


class _SelfAttention(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.w_qs, self.w_ks, self.w_vs, self.fc = (nn.Linear(dim, dim) for _ in range(4))
        self.layer_norm, self.dropout = nn.LayerNorm(dim), Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            linear(x).unflatten(-1, (_HEADS, -1)).transpose(1, 2) for linear in (self.w_qs, self.w_ks, self.w_vs)
        )
        dropped = self.dropout.probability if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropped)
        normalised: Tensor = self.layer_norm(self.dropout(self.fc(attended.transpose(1, 2).flatten(2))) + x)
        return normalised


class _FeedForward(nn.Module):
    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.w_1, self.w_2 = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.layer_norm, self.dropout = nn.LayerNorm(dim), Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        normalised: Tensor = self.layer_norm(self.dropout(self.w_2(torch.relu(self.w_1(x)))) + x)
        return normalised


def _build_convolutions(options: TALNetOptions, mel_bands: int) -> list[_ConvBlock]:
    """Channels are such that channels x bands is embedding_size after a pool, and twice that elsewhere."""
    blocks, bands, before = [], mel_bands, 1
    interval = options.n_conv_layers // options.n_pool_layers
    for number in range(1, options.n_conv_layers + 1):
        pool = (1, 1)
        channels = 2 * options.embedding_size // bands
        if number % interval == 0:
            bands //= 2
            channels = options.embedding_size // bands
            pool = (2 if number <= _TIME_POOLS * interval else 1, 2)
        blocks.append(_ConvBlock(before, channels, options, pool))
        before = channels
    return blocks
