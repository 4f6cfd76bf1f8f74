"""Clips rolled along time: what leaves at one end comes in at the other (AST's recipe for speech commands).

Domain: normalised. Each clip is rolled by a whole number of mel frames, drawn evenly from -max_frames to max_frames
(the published code leaves out the last). What is heard and what is known move together: a clip with strong labels is
rolled by a multiple of the mel frames that make a frame, so that its targets move by whole frames. Where the mel frames
are no multiple of that, what comes in at the other end lies off by less than a frame. Embeddings, where there are any,
move by the nearest whole number of their frames. Tags stay.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from desed_task.batch import Inputs, Targets, roll, send
from desed_task.options import Options


class TimeRollOptions(Options):
    """A random shift along time."""

    name: Literal["time_roll"] = "time_roll"
    max_frames: int = Field(10, ge=0, description="Largest shift, mel frames.")


class TimeRoll:
    """Rolls each clip, its embeddings and its strong labels."""

    domain = "normalised"

    def __init__(self, options: TimeRollOptions) -> None:
        self.options = options

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        """(inputs, targets) rolled."""
        clips, mel_frames, _ = inputs.mel.shape
        per_frame = max(1, mel_frames // max(1, targets.strong.shape[1]))  # a tagger's targets have no frames
        drawn = rng.integers(-self.options.max_frames, self.options.max_frames + 1, clips)
        whole = np.round(drawn / per_frame).astype(np.int64)
        frames = send(whole, inputs.mel.device)
        shift = torch.where(targets.has_strong, frames * per_frame, send(drawn, inputs.mel.device))
        return inputs.shift(shift), replace(targets, strong=roll(targets.strong, frames))
