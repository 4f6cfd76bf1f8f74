"""The audio spectrogram transformer AST (Gong et al. 2021, arXiv 2104.01778): DeiT on patches of a spectrogram.

Patches of 16 bands x 16 mel frames, `fstride` and `tstride` apart, become tokens behind a class and a distillation
token; with the published strides of 10, 128 bands x 1024 mel frames are 12 x 101 patches. Parameter names are those of
the published checkpoints without the heads of ImageNet, which nothing uses: 86,594,063 parameters with 527 classes
(88,132,063 with those heads).

The network hears `input_tdim` mel frames, those of a training clip unless the conf says otherwise: longer input is cut,
shorter is filled with zeros, the mean of normalised features. `pooling`:

cls     the clip is the mean of class and distillation token, as published; there are no frame logits.
frames  a frame is the mean of a column of patches, scored by the same head; the clip is the linear-softmax pooling of
        the frames' probabilities.

Embeddings: `frame` is the mean of each column of patches, 10.1 per second with the published strides; `tokens` all
tokens in the network's order, as the DESED baseline of 2022 listens to them (1214, which do not follow time); `clip`
the mean of class and distillation token; `global` the logits of the classes, as that baseline has it.

`initialisation` names what the weights start from when a training begins. ImageNet's come from timm's DeiT as
published: patch kernels summed over RGB, position embeddings cut or interpolated.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.models.deit import SPECIAL_TOKENS, DeiTSize, read_deit_weights, trunk_weights
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.encoder import EncoderBlock
from desed_task.models.lengths import fitted_to
from desed_task.models.pooling import build_pooling, logit_of
from desed_task.models.precision import dtype_of
from desed_task.models.tagger import InputShape
from desed_task.options import Options

# Width and attention heads.
SIZES: dict[DeiTSize, tuple[int, int]] = {
    "tiny224": (192, 3),
    "small224": (384, 6),
    "base224": (768, 12),
    "base384": (768, 12),
}
PATCH = 16
_NORM_EPS = 1e-6
_INITIAL_DEVIATION = 0.02


class ASTOptions(Options):
    """AST; base384 with strides of 10 is the published one."""

    name: Literal["ast"] = "ast"
    model_size: DeiTSize = Field("base384", description="DeiT's size and the resolution of its ImageNet training.")
    depth: int = Field(12, ge=1, description="Encoder blocks; the published networks have 12.")
    fstride: int = Field(10, ge=1, description="Bands from one patch to the next.")
    tstride: int = Field(10, ge=1, description="Mel frames from one patch to the next.")
    input_tdim: int | None = Field(
        None, ge=PATCH, description="Mel frames that are heard; null takes those of the front-end's clips."
    )
    pooling: Literal["cls", "frames"] = Field("cls", description="From tokens to the clip; frames gives frame scores.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout in the encoder blocks; the published value is 0.")
    initialisation: Literal["none", "imagenet", "audioset"] = Field(
        "none", description="What a training starts from: chance, DeiT of ImageNet, or a published checkpoint."
    )
    weights: Path | None = Field(
        None, description="File to initialise from; null lets timm fetch ImageNet's (audioset needs one)."
    )

    @model_validator(mode="after")
    def _consistent(self) -> ASTOptions:
        if self.initialisation == "audioset" and self.weights is None:
            raise ValueError("initialisation audioset needs weights; name the published checkpoint there")
        if self.initialisation == "none" and self.weights is not None:
            raise ValueError(f"weights {self.weights} are not used with initialisation none; set imagenet or audioset")
        if self.initialisation == "imagenet" and self.depth != 12:
            raise ValueError(f"depth {self.depth}: DeiT of ImageNet has 12 blocks; take 12 or initialisation none")
        return self

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return self.tstride

    def require_fit(self, shape: InputShape) -> None:
        """ValueError for fewer bands or mel frames than a patch."""
        heard = self.mel_frames_heard(shape)
        for count, unit in ((shape.mel_bands, "mel bands"), (heard, "mel frames")):
            if count < PATCH:
                raise ValueError(f"model ast hears patches of {PATCH} x {PATCH}; {count} {unit} are fewer")

    def mel_frames_heard(self, shape: InputShape) -> int:
        """Of a clip."""
        return shape.mel_frames if self.input_tdim is None else self.input_tdim

    def grid(self, shape: InputShape) -> tuple[int, int]:
        """Rows (frequency) and columns (time) of patches."""
        rows = (shape.mel_bands - PATCH) // self.fstride + 1
        return rows, (self.mel_frames_heard(shape) - PATCH) // self.tstride + 1


class _VisionTransformer(nn.Module):
    """Everything but the head, under the name `v`. (batch, mel_frames, mel_bands) -> (batch, tokens, dim)."""

    def __init__(self, options: ASTOptions, num_patches: int) -> None:
        super().__init__()
        dim, num_heads = SIZES[options.model_size]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, num_patches + SPECIAL_TOKENS, dim))
        self.patch_embed = nn.Sequential()  # of one layer, whose published name is proj
        self.patch_embed.add_module("proj", nn.Conv2d(1, dim, PATCH, stride=(options.fstride, options.tstride)))
        self.blocks = nn.ModuleList(EncoderBlock(dim, num_heads, options.dropout) for _ in range(options.depth))
        self.norm = nn.LayerNorm(dim, eps=_NORM_EPS)
        for values in (self.cls_token, self.dist_token, self.pos_embed):
            nn.init.trunc_normal_(values, std=_INITIAL_DEVIATION)
        self.blocks.apply(_initialise)

    def forward(self, mel: Tensor) -> Tensor:
        patches = self.patch_embed(mel.transpose(1, 2).unsqueeze(1)).flatten(2).transpose(1, 2)
        special = torch.cat([self.cls_token, self.dist_token], dim=1).expand(mel.shape[0], -1, -1)
        x = torch.cat([special.to(patches.dtype), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        normalised: Tensor = self.norm(x)
        return normalised


class AST(nn.Module):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions, with a frame per column of patches for `frames`."""

    HEAD: ClassVar[tuple[str, ...]] = ("mlp_head.",)
    EMBEDDINGS: ClassVar[tuple[str, ...]] = ("frame", "tokens", "clip", "global")

    def __init__(self, options: ASTOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options = options
        self.grid, self.num_classes = options.grid(shape), num_classes
        self.mel_frames_heard = options.mel_frames_heard(shape)
        self.v = _VisionTransformer(options, self.grid[0] * self.grid[1])
        dim, _ = SIZES[options.model_size]
        self.mlp_head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, num_classes))
        self.pool = build_pooling("lin")

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        tokens = self.v(fitted_to(inputs.mel, self.mel_frames_heard))
        with torch.autocast(tokens.device.type, enabled=False):  # scores stay in float32 in mixed precision
            tokens = tokens.to(dtype_of(self.mlp_head))
            if self.options.pooling == "cls":
                return Predictions(None, self.mlp_head((tokens[:, 0] + tokens[:, 1]) / SPECIAL_TOKENS))
            strong = self.mlp_head(tokens[:, SPECIAL_TOKENS:].unflatten(1, self.grid).mean(dim=1))
            return Predictions(strong, logit_of(self.pool(strong.sigmoid(), None)))

    def embedding_form(self, output: str) -> EmbeddingForm:
        """What the embedding of that name looks like."""
        if output == "global":
            return EmbeddingForm(self.num_classes)
        dim, _ = SIZES[self.options.model_size]
        return EmbeddingForm(dim, self.options.tstride, (PATCH - 1) / 2) if output == "frame" else EmbeddingForm(dim)

    def embed(self, inputs: Inputs, output: str) -> Tensor:
        """Inputs -> (batch, embedding_frames, embedding_dim)."""
        return self.embed_together(inputs, (output,))[output]

    def embed_together(self, inputs: Inputs, outputs: Collection[str]) -> dict[str, Tensor]:
        """As `embed`, several in one pass."""
        tokens: Tensor = self.v(fitted_to(inputs.mel, self.mel_frames_heard))
        clip = tokens[:, :SPECIAL_TOKENS].mean(dim=1, keepdim=True)
        found = {"tokens": tokens, "clip": clip}
        if "frame" in outputs:
            columns: Tensor = tokens[:, SPECIAL_TOKENS:].unflatten(1, self.grid).mean(dim=1)  # type: ignore[no-untyped-call]
            found["frame"] = columns
        if "global" in outputs:
            found["global"] = self.mlp_head(clip)
        return found

    def load_pretrained(self) -> None:
        """ImageNet's weights where the options name them without a file; FetchError when they cannot be had."""
        if self.options.initialisation == "imagenet" and self.options.weights is None:
            weights = trunk_weights(read_deit_weights(self.options.model_size), self.grid, "timm")
            self.v.load_state_dict({name.removeprefix("v."): values for name, values in weights.items()})


def _initialise(module: nn.Module) -> None:
    """Small weights and no biases, as DeiT begins."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=_INITIAL_DEVIATION)
        nn.init.zeros_(module.bias)
