"""An embedder: a pretrained network, its front-end, and which of its embeddings is listened to.

A frozen one never learns: its weights are buffers that are in no state dict, so they are not counted with a model's
parameters and not saved with its checkpoints, which name the file that they are from. One that learns in the same
training is a part of the model (embeddings/learning.py), and of it only the front-end works here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torchaudio.functional import resample

from desed_task.batch import Embedding, Inputs
from desed_task.features.frontend import Frontend, FrontendOptions, first_mel_seconds
from desed_task.models.embedding import EmbeddingForm, EmbeddingShape, Embeds


class Hearing(nn.Module):
    """What an embedder hears of a waveform at the system's rate: at its own rate, through its own front-end."""

    def __init__(self, frontend: Frontend, sample_rate: int, system_rate: int) -> None:
        super().__init__()
        self.frontend, self.sample_rate, self.system_rate = frontend, sample_rate, system_rate

    def spectrum(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> linear features (batch, mel_frames, mel_bands)."""
        if self.sample_rate != self.system_rate:
            waveform = resample(waveform, self.system_rate, self.sample_rate)
        return self.frontend.spectrum(waveform)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> what the network hears (batch, mel_frames, mel_bands)."""
        return self.frontend.scale(self.spectrum(waveform))


class Network(nn.Module):
    """A pretrained network, for one of its embeddings. (batch, mel_frames, mel_bands) -> Embedding."""

    def __init__(self, network: nn.Module, output: str) -> None:
        """ValueError for a network that has no embedding of that name."""
        super().__init__()
        offered = network.EMBEDDINGS if isinstance(network, Embeds) else ()
        if output not in offered:
            has = f"has {', '.join(offered)}" if offered else "has none"
            raise ValueError(f"{type(network).__name__} offers no embedding {output!r}; it {has}")
        self.network, self.output = network, output
        # What its embedding looks like; asked once, for parts that it does not need may be left out (pruning).
        self.form: EmbeddingForm = cast(Embeds, network).embedding_form(output)

    def forward(self, heard: Tensor) -> Embedding:
        """See the class."""
        values = cast(Embeds, self.network).embed(Inputs(heard), self.output)
        return Embedding(values.float(), self.form.step is not None)


class Embedder(nn.Module):
    """A frozen network and what it hears. waveform (batch, samples) at the system's rate -> Embedding."""

    pooling: Tensor | None

    def __init__(self, hearing: Hearing, network: Network, pooling: Tensor | None = None) -> None:
        """pooling: (frames, embedding_frames), weights that its embedding frames are brought onto other frames by."""
        super().__init__()
        self.hearing, self.network = hearing, network
        self.register_buffer("pooling", pooling)
        freeze(self)

    def forward(self, waveform: Tensor) -> Embedding:
        """See the class."""
        embedding: Embedding = self.network(self.hearing(waveform))
        return embedding if self.pooling is None else replace(embedding, values=self.pooling @ embedding.values)

    def train(self, mode: bool = True) -> Embedder:  # noqa: ARG002  it never trains
        """Stays in eval mode, whatever the system that it is a part of does."""
        return super().train(False)


def freeze(module: nn.Module) -> None:
    """Turn every parameter, in place, into a buffer that no state dict holds; eval mode.

    Recurrent layers keep a list of their weights beside them, which they make anew when it is not theirs any more.
    """
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach(), persistent=False)
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, buffer, persistent=False)
    module.eval()


class MelClock(NamedTuple):
    """Seconds of the middle of a front-end's first mel frame, and from one to the next."""

    first: float
    step: float


def mel_clock(options: FrontendOptions) -> MelClock:
    """The clock of a front-end."""
    return MelClock(first_mel_seconds(options), options.hop_length / options.sample_rate)


def shape_heard(network: Network, heard: Tensor, own: MelClock, listener: MelClock) -> EmbeddingShape:
    """The embedding of clips like `heard` (1, mel_frames, mel_bands), on the mel frames of the listener.

    own: the clock of what is heard.
    """
    with torch.no_grad():
        embedding: Embedding = network.eval()(heard)
    _, frames, dim = embedding.values.shape
    form = network.form
    if form.step is None:
        return EmbeddingShape(frames, dim)
    first = own.first + form.first * own.step
    return EmbeddingShape(frames, dim, form.step * own.step / listener.step, (first - listener.first) / listener.step)
