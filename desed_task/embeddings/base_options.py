"""What the options of every kind of embedder have: which embedding is listened to, how, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from desed_task.options import Options

Mode = Literal["stored", "frozen", "learning"]
Output = Literal["frame", "early", "segments", "tokens", "clip", "global"]


class BaseEmbedderOptions(Options):
    """Of any embedder."""

    output: Output = Field("frame", description="Which embedding is listened to; what there is depends on the network.")
    mode: Mode = Field(
        "frozen",
        description="Heard in each step without learning (frozen), learning in it, or extracted beforehand (stored).",
    )
    learning_rate: float = Field(1e-5, gt=0, description="Highest learning rate of mode learning.")
    store: Path | None = Field(
        None, description="Folder of extracted embeddings (recipes/extract_embeddings.py); mode stored needs it."
    )

    @model_validator(mode="after")
    def _has_store(self) -> BaseEmbedderOptions:
        if self.mode == "stored" and self.store is None:
            raise ValueError("mode stored needs store, the folder that recipes/extract_embeddings.py wrote")
        return self
