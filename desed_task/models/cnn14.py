"""The PANNs (Kong et al. 2020, arXiv 1912.10211): Cnn14, Cnn10 and Cnn6, with clip-wise or decision-level output.

Parameter names are those of the published checkpoints. With 527 classes Cnn14 has 80,753,615 parameters at 16 kHz, at
32 kHz and with decisions `max` and `avg`, and 81,834,492 with `att`; Cnn10 has 5,219,279 and Cnn6 4,837,455. What tells
16 kHz from 32 kHz is the front-end alone.

Frames: Cnn14 halves time five times (10 s of 100 mel frames per second become 31 segments), Cnn10 and Cnn6 four times.
`decision` says how the clip follows:

clip      the classifier on maximum + mean over all segments, the published Cnn14. Its frame logits, which the published
          code does not give, are the same classifier on maximum + mean over three neighbouring segments each.
max, avg  the maximum or mean of the segments' probabilities, those of the frame logits (Cnn14_DecisionLevelMax, Avg).
att       their mean, weighted by a softmax over time of attention logits clamped to [-10, 10] (Cnn14_DecisionLevelAtt).

Embeddings: `frame` is the third block's map, its channels and bands as one axis, which the DESED baselines listen to
(Cnn14: 2048 values, 12.5 per second); `segments` the last block's mean over frequency (2048, 3.1 per second); `global`
maximum + mean of these over time, and `clip` the layer behind it, which PANNs call the embedding.

Unlike the published code, which masks and mixes after the first batch norm, augmentations act before the model; clips
of fewer mel frames than one segment are prolonged by their last mel frame.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from desed_task.batch import Inputs, Predictions
from desed_task.models.dropout import Dropout
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.lengths import prolonged
from desed_task.models.pooling import logit_of
from desed_task.models.tagger import InputShape
from desed_task.options import Options

Architecture = Literal["cnn14", "cnn10", "cnn6"]
Decision = Literal["clip", "max", "avg", "att"]

_CHANNELS: dict[Architecture, tuple[int, ...]] = {
    "cnn14": (64, 128, 256, 512, 1024, 2048),
    "cnn10": (64, 128, 256, 512),
    "cnn6": (64, 128, 256, 512),
}
_HALVINGS: dict[Architecture, int] = {"cnn14": 5, "cnn10": 4, "cnn6": 4}
_ATTENTION_LIMIT = 10.0
# Whose map is the frame embedding.
_FRAME_BLOCKS = 3


class Cnn14Options(Options):
    """A PANN: blocks of convolutions and average pools over log-mel features."""

    name: Literal["cnn14"] = "cnn14"
    architecture: Architecture = Field(
        "cnn14", description="Six blocks of two 3x3 convolutions, four of them (cnn10), or four of one 5x5 (cnn6)."
    )
    decision: Decision = Field("clip", description="How the clip's score follows, from its segments or at once.")
    width: float = Field(1.0, gt=0, le=4, description="Factor of all channels; the published networks have 1.")
    block_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout after each block.")
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Dropout before the embedding and, of decisions on segments, after it."
    )

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 1 << _HALVINGS[self.architecture]

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each block."""
        return tuple(max(1, round(self.width * channels)) for channels in _CHANNELS[self.architecture])

    def require_fit(self, shape: InputShape) -> None:
        """ValueError where nothing is left of the mel bands; few mel frames are prolonged."""
        if shape.mel_bands < self.time_pooling:
            raise ValueError(
                f"model {self.architecture} halves the mel bands {_HALVINGS[self.architecture]} times, which leaves "
                f"nothing of {shape.mel_bands}; take a front-end of at least {self.time_pooling} bands"
            )


class _Block(nn.Module):
    """Convolution - batch norm - ReLU, twice (conv1, conv2) or, of kernel 5, once."""

    def __init__(self, channels_in: int, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.has_second = kernel_size == 3
        if self.has_second:
            self.conv2 = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels_in, mel_frames, mel_bands) -> (batch, channels, mel_frames, mel_bands)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x))) if self.has_second else x


class _AttentionBlock(nn.Module):
    """Attention over segments. bn_att is in the checkpoints and never used, hence never trained."""

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.att = nn.Conv1d(channels, num_classes, 1)
        self.cla = nn.Conv1d(channels, num_classes, 1)
        self.bn_att = nn.BatchNorm1d(num_classes).requires_grad_(False)

    def forward(self, x: Tensor) -> Predictions:
        """(batch, segments, channels) -> Predictions."""
        x = x.transpose(1, 2)
        attention = self.att(x).clamp(-_ATTENTION_LIMIT, _ATTENTION_LIMIT).softmax(dim=-1)
        strong = self.cla(x)
        return Predictions(strong.transpose(1, 2), logit_of((attention * strong.sigmoid()).sum(dim=-1)))


class Cnn14(nn.Module):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with mel_frames // time_pooling frames, at least 1."""

    HEAD: ClassVar[tuple[str, ...]] = ("fc_audioset.", "att_block.")
    EMBEDDINGS: ClassVar[tuple[str, ...]] = ("frame", "segments", "global", "clip")

    def __init__(self, options: Cnn14Options, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options, self.mel_bands = options, shape.mel_bands
        self.bn0 = nn.BatchNorm2d(shape.mel_bands)
        kernel_size, before = 5 if options.architecture == "cnn6" else 3, 1
        for number, channels in enumerate(options.channels, start=1):
            self.add_module(f"conv_block{number}", _Block(before, channels, kernel_size))
            before = channels
        self.fc1 = nn.Linear(before, before)
        if options.decision == "att":
            self.att_block = _AttentionBlock(before, num_classes)
        else:
            self.fc_audioset = nn.Linear(before, num_classes)
        self.block_dropout, self.dropout = Dropout(options.block_dropout), Dropout(options.dropout)
        self.apply(_initialise)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        x = self._trunk(prolonged(inputs.mel, self.options.time_pooling).unsqueeze(1))
        with torch.autocast(x.device.type, enabled=False):  # scores stay in float32 in mixed precision
            return self._decide(x.to(self.fc1.weight.dtype))

    def embedding_form(self, output: str) -> EmbeddingForm:
        """What the embedding of that name looks like."""
        channels, blocks = self.options.channels, _FRAME_BLOCKS if output == "frame" else len(self.options.channels)
        step = 1 << min(blocks, _HALVINGS[self.options.architecture])
        if output == "frame":
            return EmbeddingForm(channels[blocks - 1] * (self.mel_bands // step), step, (step - 1) / 2)
        return EmbeddingForm(channels[-1], *((step, (step - 1) / 2) if output == "segments" else ()))

    def embed(self, inputs: Inputs, output: str) -> Tensor:
        """Inputs -> (batch, embedding_frames, embedding_dim)."""
        return self.embed_together(inputs, (output,))[output]

    def embed_together(self, inputs: Inputs, outputs: Collection[str]) -> dict[str, Tensor]:
        """As `embed`, several in one pass."""
        found: dict[str, Tensor] = {}
        x = self._blocks(prolonged(inputs.mel, self.options.time_pooling).unsqueeze(1), _FRAME_BLOCKS)
        if "frame" in outputs:
            found["frame"] = x.permute(0, 2, 1, 3).flatten(2)
        if set(outputs) == {"frame"}:
            return found
        segments = self._blocks(x, len(self.options.channels), done=_FRAME_BLOCKS).mean(dim=3)
        whole = (segments.amax(dim=2) + segments.mean(dim=2)).unsqueeze(1)
        if "clip" in outputs:
            found["clip"] = self._embed(whole)
        return {**found, "segments": segments.transpose(1, 2), "global": whole}

    def _trunk(self, x: Tensor) -> Tensor:
        """(batch, 1, mel_frames, mel_bands) -> (batch, channels, segments)."""
        return self._blocks(x, len(self.options.channels)).mean(dim=3)

    def _blocks(self, x: Tensor, count: int, done: int = 0) -> Tensor:
        """(batch, 1, mel_frames, mel_bands) -> the map of block `count`: (batch, channels, times, bands).

        done: x is the map of that block.
        """
        if not done:
            x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        for number in range(done + 1, count + 1):
            x = self.get_submodule(f"conv_block{number}")(x)
            if number <= _HALVINGS[self.options.architecture]:
                x = functional.avg_pool2d(x, 2)
            x = self.block_dropout(x)
        return x

    def _decide(self, x: Tensor) -> Predictions:
        """(batch, channels, segments) -> Predictions."""
        near = functional.max_pool1d(x, 3, stride=1, padding=1) + functional.avg_pool1d(x, 3, stride=1, padding=1)
        segments = self._embed(near.transpose(1, 2))
        if self.options.decision == "clip":
            return Predictions(self.fc_audioset(segments), self.fc_audioset(self._embed(x.amax(dim=2) + x.mean(dim=2))))
        segments = self.dropout(segments)
        if self.options.decision == "att":
            attended: Predictions = self.att_block(segments)
            return attended
        strong = self.fc_audioset(segments)
        if self.options.decision == "max":
            return Predictions(strong, strong.amax(dim=1))
        return Predictions(strong, logit_of(strong.sigmoid().mean(dim=1)))

    def _embed(self, x: Tensor) -> Tensor:
        """(..., channels) -> (..., channels)."""
        return torch.relu(self.fc1(self.dropout(x)))


def _initialise(module: nn.Module) -> None:
    """Xavier's weights and no biases, as published."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
