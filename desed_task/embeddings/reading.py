"""Stored embeddings, as trainings and predictions read them; where they come from is the store's to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from desed_task.batch import Embedding


class EmbeddingReader(Protocol):
    """The embeddings of the clips of one set."""

    @property
    def fingerprint(self) -> str:
        """Of what made them: another for another embedder or other clips."""
        ...

    def read(self, audio_ids: Sequence[str]) -> Embedding:
        """Those of some clips, on the CPU, float32."""
        ...


Readers = Mapping[str, EmbeddingReader]
NO_READERS: Readers = MappingProxyType({})
