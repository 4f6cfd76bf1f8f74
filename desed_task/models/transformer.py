"""Models on frames of mel features without convolutions: `linear` of AudioTagging Done Right, and a plain transformer.

Linear: four linear maps of each mel frame with layer norms between them and nothing bent, then scores per frame and
their attention pooling, 202,782 parameters with 128 bands and 527 classes; parameter names are the published ones. It
is the control of what the others add: nothing in it sees more than one mel frame before the pooling.

Transformer: `time_pooling` mel frames side by side are mapped to one frame, sinusoids are added, and encoder blocks
(models/encoder.py) let frames hear each other. Any length is heard.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.models.dropout import Dropout
from desed_task.models.embedding import EmbeddingForm
from desed_task.models.encoder import EncoderBlock
from desed_task.models.frame_embeddings import FrameEmbeddings, form_of_groups
from desed_task.models.frame_scores import HEAD, add_frame_scores, score_frames_and_pool
from desed_task.models.lengths import prolonged
from desed_task.models.pooling import PoolingName
from desed_task.models.positions import add_sinusoids
from desed_task.models.tagger import InputShape
from desed_task.options import Options


class LinearOptions(Options):
    """Linear maps of single mel frames."""

    name: Literal["linear"] = "linear"
    n_layers: int = Field(3, ge=0, description="Layer norms with a linear map, after the first map.")
    hidden_dim: int = Field(128, ge=1, description="Features of a frame.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before each layer.")
    pooling: PoolingName = Field("att", description="From the frames' probabilities to the clip's.")

    @property
    def time_pooling(self) -> int:
        """Mel frames per frame."""
        return 1

    def require_fit(self, shape: InputShape) -> None:
        """Any shape fits."""


class TransformerOptions(Options):
    """A plain transformer encoder over frames."""

    name: Literal["transformer"] = "transformer"
    time_pooling: int = Field(4, ge=1, description="Mel frames that become one frame, side by side.")
    dim: int = Field(192, ge=1, description="Features of a frame.")
    num_heads: int = Field(4, ge=1, description="Attention heads; they divide dim.")
    depth: int = Field(6, ge=1, description="Encoder blocks.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout in the encoder blocks and before them.")
    pooling: PoolingName = Field("att", description="From the frames' probabilities to the clip's.")

    @model_validator(mode="after")
    def _divisible(self) -> TransformerOptions:
        if self.dim % self.num_heads:
            raise ValueError(f"dim {self.dim} is no multiple of num_heads {self.num_heads}")
        return self

    def require_fit(self, shape: InputShape) -> None:
        """Any shape fits; few mel frames are prolonged to one frame."""


class Linear(nn.Module, FrameEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with mel_frames frames."""

    HEAD: ClassVar[tuple[str, ...]] = HEAD

    def __init__(self, options: LinearOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        self.options = options
        hidden = options.hidden_dim
        self.linear = nn.ModuleList([nn.Linear(shape.mel_bands, hidden)])
        for _ in range(options.n_layers):
            self.linear.extend([nn.LayerNorm(hidden), nn.Linear(hidden, hidden)])
        self.dropout = Dropout(options.dropout)
        add_frame_scores(self, hidden, num_classes, options.pooling)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        return score_frames_and_pool(self, self.embed_frames(inputs), self.options.pooling)

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        return form_of_groups(1, self.options.hidden_dim)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, mel_frames, hidden_dim)."""
        x = inputs.mel
        for layer in self.linear:
            x = layer(self.dropout(x))
        return x


class Transformer(nn.Module, FrameEmbeddings):
    """Inputs.mel (batch, mel_frames, mel_bands) -> Predictions with mel_frames // time_pooling frames, at least 1."""

    HEAD: ClassVar[tuple[str, ...]] = HEAD

    def __init__(self, options: TransformerOptions, shape: InputShape, num_classes: int) -> None:
        super().__init__()
        self.options = options
        # A convolution whose kernels do not overlap is a linear map of mel frames side by side, of any number of them.
        self.stem = nn.Conv1d(shape.mel_bands, options.dim, options.time_pooling, stride=options.time_pooling)
        self.dropout = Dropout(options.dropout)
        self.blocks = nn.ModuleList(
            EncoderBlock(options.dim, options.num_heads, options.dropout) for _ in range(options.depth)
        )
        self.norm = nn.LayerNorm(options.dim)
        add_frame_scores(self, options.dim, num_classes, options.pooling)

    def forward(self, inputs: Inputs) -> Predictions:
        """Inputs -> Predictions, see the class."""
        return score_frames_and_pool(self, self.embed_frames(inputs), self.options.pooling)

    def frame_form(self) -> EmbeddingForm:
        """What the embedding `frame` looks like."""
        return form_of_groups(self.options.time_pooling, self.options.dim)

    def embed_frames(self, inputs: Inputs) -> Tensor:
        """Inputs -> (batch, frames, dim)."""
        mel = prolonged(inputs.mel, self.options.time_pooling)
        x: Tensor = self.stem(mel.transpose(1, 2)).transpose(1, 2)
        x = self.dropout(add_sinusoids(x))
        for block in self.blocks:
            x = block(x)
        normalised: Tensor = self.norm(x)
        return normalised
