"""What an extraction hears with, and what a file of each layout holds.

A compact file holds the embedding that the detector listens to, in no more frames than the detector's. Files of the
published layouts hold both embeddings of a published network: that of the clip, and `frame`, or all tokens of an AST.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.batch import Inputs, send
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embeddings.embedder import Embedder, mel_clock
from desed_task.embeddings.layouts import LAYOUTS, LayoutName, Part, layout_of
from desed_task.embeddings.store import tokens_of
from desed_task.embeddings.store_file import Clock, Contents, opened
from desed_task.features.frontend import FrontendOptions
from desed_task.models.embedding import Embeds, EmbedsTogether

# Of a frame of the detector, that a recording may be longer than a clip.
_SHARE_OF_A_FRAME = 0.99


@dataclass(frozen=True)
class Extraction:
    """How embeddings are made.

    embedders: of each part of a file, what it holds. listener: what the detector hears with.
    """

    embedders: Mapping[Part, BuiltEmbedder]
    listener: FrontendOptions
    layout: LayoutName
    batch_size: int
    device: torch.device

    @property
    def main(self) -> BuiltEmbedder:
        """The embedder of `frame_embeddings`, or of all that a compact file holds."""
        return self.embedders["frame"]

    @property
    def sample_rate(self) -> int:
        """That of the detector: the embedder hears what it will hear of it, at its own rate, resampled."""
        return self.main.system_rate

    @property
    def num_samples(self) -> int:
        """Of a clip."""
        return round(self.main.clip_seconds * self.main.system_rate)

    @property
    def contents(self) -> Contents:
        """What a file says of itself."""
        return Contents(self.main.options.output, self._clock, self.main.origin())

    @property
    def longest_seconds(self) -> float:
        """Of a recording that can be stored: less than what makes another window of the detector."""
        listener = self.main.listener
        if listener is None:
            return self.main.clip_seconds
        frame = listener.features.hop_length * listener.time_pooling / listener.features.sample_rate
        return self.main.clip_seconds + _SHARE_OF_A_FRAME * frame

    def hear(self, waveforms: NDArray[np.float32]) -> dict[Part, NDArray[np.floating]]:
        """Clips at the detector's rate, (clips, samples) -> what a file holds: (clips, embedding_frames, dim)."""
        built, heard = self._built, send(waveforms, self.device)
        with torch.inference_mode():
            return {part: self._as_stored(values) for part, values in built(heard).items()}

    def _as_stored(self, values: Tensor) -> NDArray[np.floating]:
        is_half = LAYOUTS[self.layout].dtype is np.float16
        stored: NDArray[np.floating] = (values.half() if is_half else values.float()).cpu().numpy()
        return stored

    @cached_property
    def _built(self) -> Callable[[Tensor], dict[Part, Tensor]]:
        """The networks, which are read when something is heard; of several embeddings one that gives all at once."""
        if len(self.embedders) == 1:
            return self._apart(self.embedders)
        # All that its embedding of the clip needs, a network needs for the others too.
        embedder = self._ready(self.embedders["global"])
        network = embedder.network.network
        if not isinstance(network, EmbedsTogether):
            return self._apart(self.embedders)
        names = {part: built.options.output for part, built in self.embedders.items()}

        def hear(waveforms: Tensor) -> dict[Part, Tensor]:
            found = network.embed_together(Inputs(embedder.hearing(waveforms)), tuple(names.values()))
            return {part: found[name] for part, name in names.items()}

        return hear

    def _apart(self, embedders: Mapping[Part, BuiltEmbedder]) -> Callable[[Tensor], dict[Part, Tensor]]:
        ready = {part: self._ready(built) for part, built in embedders.items()}
        return lambda waveforms: {part: embedder(waveforms).values for part, embedder in ready.items()}

    def _ready(self, built: BuiltEmbedder) -> Embedder:
        return built.embedder().to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    @cached_property
    def _clock(self) -> Clock | None:
        """Of the main embedding, in seconds; None where it does not follow the clip's time."""
        shape, mel_frame = self.main.shape(self.listener), mel_clock(self.listener)
        if shape.step is None:
            return None
        return Clock(mel_frame.first + shape.first * mel_frame.step, shape.step * mel_frame.step)


def layout_embedders(embedder: BuiltEmbedder, layout: LayoutName) -> dict[Part, BuiltEmbedder]:
    """Of each part of a file of that layout, what it holds."""
    if layout == "compact":
        return {"frame": _changed(embedder, mode="stored")}
    own = _changed(embedder, mode="frozen")
    offered, output = _outputs(own), own.options.output
    if output == "global" and "frame" in offered:
        output = "frame"
    if output == "frame" and "tokens" in offered and _is_of_tokens(own):
        output = "tokens"  # as published; `frame` is made of them in reading
    parts: dict[Part, BuiltEmbedder] = {"frame": _changed(own, output=output)}
    return parts | ({"global": _changed(own, output="global")} if "global" in offered else {})


def _is_of_tokens(embedder: BuiltEmbedder) -> bool:
    """Whether `frame` can be made of `tokens` as of those of the published AST."""
    frames, tokens = (
        _changed(embedder, output=output).shape(embedder.options.features).frames for output in ("frame", "tokens")
    )
    return tokens == tokens_of(frames)


def _changed(embedder: BuiltEmbedder, **changes: str) -> BuiltEmbedder:
    options = embedder.options.model_copy(update=changes)
    return BuiltEmbedder(options, embedder.system_rate, embedder.clip_seconds, embedder.listener)


def _outputs(embedder: BuiltEmbedder) -> tuple[str, ...]:
    """The embeddings that its network offers."""
    with torch.device("meta"):
        offered: tuple[str, ...] = cast(Embeds, embedder.network().network).EMBEDDINGS
    return offered


def size_in_words(path: Path, embedder: BuiltEmbedder) -> str:
    """What a file holds and takes; of frames in the compact layout also what that of 2023 would take."""
    with opened(path) as file:
        layout = layout_of(file)
        rows = layout.rows(file)
        frames, dim = layout.shape(file, "frame", next(iter(rows.values())))
    num_bytes = path.stat().st_size
    words = f"{path}: {len(rows)} clips of {frames} x {dim}, layout {layout.name}, {num_bytes / 1e6:.1f} MB"
    if layout.name != "compact" or frames == 1:
        return words
    shapes = [built.shape(built.options.features) for built in layout_embedders(embedder, "2023").values()]
    published = len(rows) * np.dtype(np.float32).itemsize * sum(shape.frames * shape.dim for shape in shapes)
    return f"{words}; layout 2023 takes {published / 1e6:.1f} MB, {published / num_bytes:.2g} times as much"
