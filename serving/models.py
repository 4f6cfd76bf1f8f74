"""The models of one server."""

from __future__ import annotations

from dataclasses import dataclass

from desed_task.bundle import Bundle
from desed_task.detector import Detector


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model that is loaded and warm. id: what requests call it."""

    id: str
    detector: Detector

    @property
    def bundle(self) -> Bundle:
        """Who the model is: labels, clocks, view, post-processing, provenance."""
        return self.detector.bundle

    @property
    def provider(self) -> str:
        """What runs the model, such as CPUExecutionProvider."""
        return self.detector.provider
