"""Options of soundscapes that are mixed while a training runs, and what is refused before it begins.

The conf of the soundscapes is that of `recipes/generate_soundscapes.py`. It is read together with the training's own
and kept in it whole, so that a run folder says by itself what was heard, whatever becomes of the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from desed_task.errors import CorpusError, OptionsError
from desed_task.labels import LabelSet
from desed_task.options import Options, check_options, read_merged
from desed_task.soundscapes.conf import SoundscapesOptions, check_part
from desed_task.timeline import FrameGrid

_ORIGIN = "the online source's soundscapes"


class OnlineOptions(Options):
    """Scenes that are drawn and mixed anew for every batch, so that no mixture is heard twice."""

    name: Literal["online"]
    conf: Path | None = Field(
        default=None, description="Conf of the soundscapes, such as confs/soundscapes/demo.yaml; read once, then null."
    )
    soundscapes: dict[str, Any] = Field(
        default={}, description="Keys of that conf that are replaced; after reading, or without a conf, all of them."
    )
    part: str = Field(default="train", description="The part of that conf whose scenes are drawn.")
    scenes_per_epoch: int | None = Field(
        default=None, ge=1, description="Scenes that count as an epoch; null: as many as the part has."
    )
    takes_per_class: int = Field(
        default=200,
        ge=1,
        description="Takes of a class, and backgrounds, that are prepared where each is slow work for the CPU: "
        "syntheses, and excerpts at another speed, stretched or shifted.",
    )

    @model_validator(mode="after")
    def _whole(self) -> OnlineOptions:
        scenes = self.read()
        if self.part not in scenes.parts:
            raise ValueError(f"part {self.part!r} is none of {', '.join(scenes.parts)}; correct `part`")
        tree = json.loads(scenes.model_dump_json())
        return self if self.soundscapes == tree else self.model_copy(update={"conf": None, "soundscapes": tree})

    @property
    def title(self) -> str:
        """What sentences call the source."""
        return f"online {self.part}"

    def read(self) -> SoundscapesOptions:
        """The soundscapes; OptionsError names what is wrong with them."""
        if self.conf is not None:
            return read_merged(self.conf, SoundscapesOptions, self.soundscapes, _ORIGIN)
        if not self.soundscapes:
            raise OptionsError("an online source needs the conf of its soundscapes; add `conf: FILE` to it")
        return check_options(self.soundscapes, SoundscapesOptions, default_origin=_ORIGIN)

    def num_scenes(self) -> int:
        """Scenes of an epoch."""
        return self.scenes_per_epoch or self.read().parts[self.part].num_scenes


def check_online(
    options: OnlineOptions, batch_size: int, labels: LabelSet, grid: FrameGrid, clip_seconds: float
) -> None:
    """OptionsError or CorpusError where scenes and training do not fit, or cannot be made."""
    scenes = options.read()
    scene = scenes.scene_of(options.part)
    unknown = [label for label in scene.labels if label not in labels.names]
    if unknown:
        raise OptionsError(
            f"{options.title}: its scenes have {unknown[0]!r}, which is none of the detector's labels; add it there "
            f"or leave it out of scene.labels"
        )
    if grid.sample_rate != scenes.sample_rate:
        raise OptionsError(
            f"{options.title}: scenes are mixed at {scenes.sample_rate} Hz and features.sample_rate is "
            f"{grid.sample_rate}; make the soundscapes' sample_rate the same"
        )
    if scene.levels != "rms":
        raise OptionsError(
            f"{options.title}: scene.levels is {scene.levels}, which only recipes/generate_soundscapes.py can set; "
            f"generate the scenes with it, or set scene.levels to rms"
        )
    if scene.duration_seconds != clip_seconds:
        raise OptionsError(
            f"{options.title}: its scenes are {scene.duration_seconds:g} s long and data.clip_seconds is "
            f"{clip_seconds:g}; make scene.duration_seconds the same"
        )
    if options.num_scenes() < batch_size:
        raise CorpusError(
            f"{options.title}: {options.num_scenes()} scenes per epoch are fewer than its share of {batch_size} per "
            f"batch; raise scenes_per_epoch or lower its batch_size"
        )
    check_part(scenes, options.part)
