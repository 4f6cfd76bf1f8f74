"""View: how a model hears a recording of any length. Windows that overlap (`windowing`) or chunks (`chunking`).

Both cut a waveform into windows of one length, stitch what was said of the windows into Scores, and pool their logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import Field

from desed_task.chunking import Chunking, ClipPooling, Short, Tail
from desed_task.options import Options
from desed_task.timeline import FrameGrid
from desed_task.windowing import Windowing

View = Windowing | Chunking


class WindowingOptions(Options):
    """Overlapping windows; the clip score is that of the window in which it is largest."""

    window_seconds: float = Field(description="seconds that the model hears at a time", gt=0)
    overlap_frames: int = Field(description="frames that neighbouring windows share", ge=0)


class ChunkingOptions(Options):
    """Chunks whose clip scores are pooled."""

    window_seconds: float = Field(description="seconds that the model hears at a time", gt=0)
    hop_seconds: float = Field(description="seconds from the start of one window to that of the next", gt=0)
    tail: Tail = Field("tile", description="the end of a recording: tile repeats it, shift, drop or zeros")
    short: Short = Field("tile", description="a recording shorter than a window: tile repeats it, or zeros")
    clip_scores: ClipPooling = Field(
        "mean_logit", description="scores of the windows -> that of the clip: mean_logit, mean, max or soft"
    )
    exponent: float = Field(1.0, description="of soft: 0 is mean_logit, a large one max")


def build_view(options: WindowingOptions | ChunkingOptions, grid: FrameGrid) -> View:
    """The view that the options describe; ValueError, of one sentence, when it does not fit the grid."""
    values = options.model_dump()
    return Windowing(grid, **values) if isinstance(options, WindowingOptions) else Chunking(grid, **values)


def describe_view(view: View) -> Mapping[str, Any]:
    """The keys of its options, which `build_view` reads back to the same."""
    return {key: value for key, value in asdict(view).items() if key != "grid"}
