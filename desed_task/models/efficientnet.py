"""EfficientNet taggers: PSLA's with attention over time (Gong et al. 2021, arXiv 2102.01243), and those of GISE-51.

The trunk leaves a frame per 32 mel frames, whose mean over frequency the head scores: PSLA's (psla_heads.py), or
`linear`, the mean over time, dropout and a linear layer, as for photographs. Parameters at 527 classes: B0, B1, B2 with
four heads 9,407,672 / 11,913,308 / 13,640,766, B2 with one 9,185,504, with none 8,442,961; `linear` at 51 classes: B0
4,072,303, B1 6,577,939 (image_size 221). Their names are those of PSLA's checkpoints; those of GISE-51 lack the
beginning `effnet.`.

ImageNet weights are timm's conversion of the published ones. Published PSLA starts its first convolution at random all
the same; `stem: sum`, the default here, keeps the ImageNet one, summed over colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.models.efficientnet_trunk import EfficientNetTrunk, TrunkShape
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.frame_embeddings import EarlyEmbeddings, form_at
from desed_task.models.image_input import image_of, require_bands
from desed_task.models.imagenet import load_trunk, read_imagenet_weights, sum_over_colours
from desed_task.models.layer_geometry import place_after
from desed_task.models.pooling import LinearHead
from desed_task.models.psla_heads import PslaHead, PslaHeadOptions
from desed_task.models.tagger import InputShape

# eff_b -> factors on width and depth of B0, size of the photographs it was made for, dropout before a linear layer.
_SIZES = (
    (1.0, 1.0, 224, 0.2),
    (1.0, 1.1, 240, 0.2),
    (1.1, 1.2, 260, 0.3),
    (1.2, 1.4, 300, 0.3),
    (1.4, 1.8, 380, 0.4),
    (1.6, 2.2, 456, 0.4),
    (1.8, 2.6, 528, 0.5),
    (2.0, 3.1, 600, 0.5),
)


class EfficientNetOptions(PslaHeadOptions):
    """An EfficientNet; the default is PSLA's B2 with four attention heads."""

    name: Literal["efficientnet"] = "efficientnet"
    eff_b: int = Field(2, ge=0, lt=len(_SIZES), description="Which of B0 to B7.")
    head: Literal["attention", "linear"] = Field(
        "attention", description="attention: PSLA's, see att_head; linear: mean over time and a linear layer."
    )
    image_size: int | None = Field(
        None, ge=1, description="Size of the square image that paddings are computed for; by default that of eff_b."
    )
    width: float = Field(1.0, gt=0, description="A further factor on the filters, for small networks.")
    depth: float = Field(1.0, gt=0, description="A further factor on the layers, for small networks.")
    drop_connect: float = Field(
        0.2, ge=0, lt=1, description="Probability of skipping the last block for a clip; earlier ones have less."
    )
    batch_norm_momentum: float = Field(
        0.01, gt=0, le=1, description="Share of the newest batch in the running statistics; .01 as published."
    )
    pretrained: Literal["imagenet"] | None = Field(
        None, description="Initial weights of the trunk: imagenet (timm's tf_efficientnet, AutoAugment) or none."
    )
    stem: Literal["sum", "random"] = Field(
        "sum", description="First convolution of a pretrained trunk: its sum over colours, or random as published."
    )

    @model_validator(mode="after")
    def _weights_exist(self) -> EfficientNetOptions:
        if self.pretrained and (self.width != 1.0 or self.depth != 1.0):
            raise ValueError(
                f"there are no ImageNet weights of width {self.width:g} and depth {self.depth:g}; "
                f"leave both at 1, or set pretrained to null"
            )
        return self

    @property
    def trunk_shape(self) -> TrunkShape:
        """Width, depth and image size of the trunk."""
        width, depth, image_size, _ = _SIZES[self.eff_b]
        return TrunkShape(width * self.width, depth * self.depth, self.image_size or image_size)

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 32

    def build_head(self, channels: int, num_classes: int) -> LinearHead | PslaHead:
        """What scores the trunk's features."""
        if self.head == "linear":
            return LinearHead(channels, num_classes, dropout=_SIZES[self.eff_b][3])
        return self.build_psla_head(channels, num_classes)

    def require_fit(self, shape: InputShape) -> None:
        """ValueError when there are too few mel bands."""
        require_bands(shape, self.trunk_shape.least_size, f"EfficientNet-B{self.eff_b}")


class EfficientNet(nn.Module, EarlyEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with a frame per 32 mel frames."""

    HEAD: ClassVar[tuple[str, ...]] = ("attention.", "effnet._fc.")

    def __init__(self, options: EfficientNetOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        options.require_fit(shape)
        self.options = options
        trunk = options.trunk_shape
        self.least_frames, self.mel_bands = trunk.least_size, shape.mel_bands
        self.effnet = EfficientNetTrunk(trunk, options.drop_connect, options.batch_norm_momentum)
        parent, name = (self.effnet, "_fc") if options.head == "linear" else (self, "attention")
        parent.add_module(name, options.build_head(trunk.channels, num_classes))
        self.head_name = name if parent is self else f"effnet.{name}"

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        predictions: Predictions = self.get_submodule(self.head_name)(self._feature_map(inputs))
        return predictions

    def _feature_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels, frames), the mean over frequency."""
        averaged: Tensor = self.effnet(image_of(inputs.mel, self.least_frames)).mean(dim=2)
        return averaged

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        trunk = self.effnet.shape
        return form_at(place_after(trunk.layers()), trunk.channels)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, embedding_frames, channels)."""
        return self._feature_map(inputs).transpose(1, 2)

    def early_form(self) -> EmbeddingForm:
        """What the embedding `early` looks like."""
        trunk = self.effnet.shape
        layers = trunk.layers(trunk.early_blocks)
        return form_at(place_after(layers), trunk.early_channels * place_after(layers, self.mel_bands).size)

    def early_map(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, channels, bands, times)."""
        return self.effnet.early_map(image_of(inputs.mel, self.least_frames))

    def load_pretrained(self) -> None:
        """The initial weights that the options name, if any; FetchError when they cannot be had."""
        if self.options.pretrained:
            import timm  # takes seconds, and only a training that starts from ImageNet needs it

            conf = timm.get_pretrained_cfg(f"tf_efficientnet_b{self.options.eff_b}.aa_in1k")
            assert conf is not None, "timm has lost its EfficientNets"
            kept = ("_fc.", "_conv_stem.") if self.options.stem == "random" else ("_fc.",)
            load_trunk(self.effnet, self._renamed(read_imagenet_weights(str(conf.url))), kept)

    def _renamed(self, photographs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Parameters of timm's network for photographs -> those of our trunk."""
        theirs, weights = self.effnet.names_in_timm(), {}
        for name in self.effnet.state_dict():
            layer, _, parameter = name.rpartition(".")
            if layer in theirs:
                weights[name] = photographs[f"{theirs[layer]}.{parameter}"]
        return weights | {"_conv_stem.weight": sum_over_colours(weights["_conv_stem.weight"])}
