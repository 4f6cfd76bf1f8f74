"""Embeddings that another program extracted: a store, and no network to hear with.

For networks that are not here, such as BEATs, which the DESED baselines of 2023 and 2024 listen to. Those hear patches
of a spectrogram and write one embedding per patch. Where the patches of one time lie side by side (time-major), output
`frame`, the means of every `patches` of them, follows the clip's time; output `tokens` is all of them as they lie.
The published `pool1d` takes the 496 of BEATs for times; they are 62 times of 8 patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from desed_task.batch import Embedding
from desed_task.clips import ClipSet
from desed_task.embeddings.base_options import BaseEmbedderOptions
from desed_task.embeddings.embedder import Embedder, Hearing, Network, mel_clock
from desed_task.embeddings.reading import EmbeddingReader
from desed_task.embeddings.store import StoredForm, open_embeddings
from desed_task.errors import OptionsError
from desed_task.models.embedding import EmbeddingShape


class ExtractedOptions(BaseEmbedderOptions):
    """Embeddings that another program extracted from every clip; clips that are not in the store cannot be heard."""

    name: Literal["extracted"] = "extracted"
    output: Literal["frame", "tokens", "global"] = Field("frame", description="Which of what is stored is listened to.")
    mode: Literal["stored"] = Field("stored", description="Always stored.")
    frames: int = Field(ge=1, description="Embedding frames of a clip; those of patches count once per time.")
    dim: int = Field(ge=1, description="Values per embedding frame.")
    patches: int = Field(
        1,
        ge=1,
        description="Embeddings of one time, which lie side by side in the store; output frame is their means.",
    )
    frame_seconds: float | None = Field(
        None, gt=0, description="From one embedding frame to the next; null: they do not follow the clip's time."
    )
    first_frame_seconds: float = Field(0.0, description="Middle of the first embedding frame.")


class ExtractedEmbedder:
    """An embedder of which there is nothing but what was extracted."""

    def __init__(self, options: ExtractedOptions) -> None:
        self.options = options

    @property
    def _averages(self) -> bool:
        return self.options.output == "frame" and self.options.patches > 1

    def shape(self, listener: Any) -> EmbeddingShape:
        """Of the embedding of a clip, on the clock of the listener's front-end (its options)."""
        frames, dim = self._frames_and_dim()
        if not self._is_timed:
            return EmbeddingShape(frames, dim)
        clock = mel_clock(listener)
        first = (self.options.first_frame_seconds - clock.first) / clock.step
        assert self.options.frame_seconds is not None
        return EmbeddingShape(frames, dim, self.options.frame_seconds / clock.step, first)

    def stored_form(self) -> StoredForm:
        """What a store of its embeddings must hold."""
        frames, dim = self._frames_and_dim()
        if self._averages:
            return StoredForm("tokens", frames * self.options.patches, dim, is_timed=False)
        return StoredForm(self.options.output, frames, dim, self._is_timed)

    def reader(self, clip_set: ClipSet) -> EmbeddingReader:
        """The embeddings of a set; CorpusError where they are not there or of another form."""
        assert self.options.store is not None, "mode stored has a store"
        reader = open_embeddings(self.options.store, clip_set, self.stored_form())
        return MeansOfPatches(reader, self.options.patches, self._is_timed) if self._averages else reader

    @property
    def _is_timed(self) -> bool:
        return self.options.output == "frame" and self.options.frame_seconds is not None

    def _frames_and_dim(self) -> tuple[int, int]:
        if self.options.output == "global":
            return 1, self.options.dim
        patches = self.options.patches if self.options.output == "tokens" else 1
        return self.options.frames * patches, self.options.dim

    def hearing(self, exportable: bool = False) -> Hearing:  # noqa: ARG002
        """OptionsError: there is none."""
        raise self._absent()

    def network(self) -> Network:
        """OptionsError: there is none."""
        raise self._absent()

    def trained_network(self) -> Network:
        """OptionsError: there is none."""
        raise self._absent()

    def embedder(self, exportable: bool = False) -> Embedder:  # noqa: ARG002
        """OptionsError: there is none."""
        raise self._absent()

    def _absent(self) -> OptionsError:
        return OptionsError(
            f"embedders: the network that {self.options.store} was extracted with is not here, so only clips of that "
            f"store can be heard; for others, and for a bundle, take one with a network (panns, ast, network, tagger)"
        )


class MeansOfPatches:
    """Reads the embeddings of `reader`, (batch, frames * patches, dim), as (batch, frames, dim)."""

    def __init__(self, reader: EmbeddingReader, patches: int, is_timed: bool) -> None:
        self._reader, self._patches, self._is_timed = reader, patches, is_timed

    @property
    def fingerprint(self) -> str:
        """See EmbeddingReader."""
        return f"{self._reader.fingerprint}, means of {self._patches}"

    def read(self, audio_ids: Sequence[str]) -> Embedding:
        """See EmbeddingReader."""
        values = self._reader.read(audio_ids).values
        return Embedding(values.unflatten(1, (-1, self._patches)).mean(dim=2), self._is_timed)  # type: ignore[no-untyped-call]
