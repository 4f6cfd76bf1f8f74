"""Isolation: what of a recording is an event. A variant says where events are, and where an excerpt of one may begin.

`audible` cuts a recording where it is silent for long (silence.py), `strip_silence` takes silence out of it as GISE-51
was made (stripping.py), and `whole` takes it as it is: for recordings that were cut before.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from pydantic import Discriminator, Tag

from desed_task.audio.reading import Waveform
from desed_task.options import Options
from desed_task.soundscapes.silence import IsolationOptions, Outline
from desed_task.soundscapes.stripping import StripOptions


class Isolation(Protocol):
    """How recordings become events."""

    def isolate(self, waveform: Waveform, sample_rate: int, event_label: str) -> list[tuple[int, Waveform]]:
        """(first sample, samples) of each event of a recording of a class; none where it is to be left out."""
        ...

    def outline(self, waveform: Waveform, sample_rate: int) -> Outline:
        """Where excerpts of an event may begin."""
        ...


class WholeOptions(Options):
    """Every recording is one event."""

    name: Literal["whole"]

    def isolate(self, waveform: Waveform, sample_rate: int, event_label: str) -> list[tuple[int, Waveform]]:  # noqa: ARG002
        """The recording."""
        return [(0, waveform)]

    def outline(self, waveform: Waveform, sample_rate: int) -> Outline:  # noqa: ARG002 (an excerpt begins anywhere)
        """An excerpt may begin anywhere."""
        return Outline(len(waveform), None, 1)


def _variant(section: Any) -> str:
    """The variant that a section is; `audible` where it does not say."""
    name = section.get("name", "audible") if isinstance(section, dict) else getattr(section, "name", "audible")
    return str(name)


AnyIsolationOptions = Annotated[
    Annotated[IsolationOptions, Tag("audible")]
    | Annotated[StripOptions, Tag("strip_silence")]
    | Annotated[WholeOptions, Tag("whole")],
    Discriminator(_variant),
]
