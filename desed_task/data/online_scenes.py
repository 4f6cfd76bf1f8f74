"""Online scenes: clips that are drawn as scenes and mixed on the device for the batch in which they are heard.

Each scene is drawn from (seed, epoch, step, source, row) alone, by the rules of `soundscapes/scene.py`, so it does not
depend on what was drawn before nor on how many ranks share the batch, a resumed training hears what it would have
heard, and no two batches of a training hear the same mixture. Its annotation is known to the sample.

Every scene is an ordinary `Scene`: `render_scene` renders what was heard here, to 1e-5 of full scale, and
`scenes` gives those of any batch. Where takes are slow to prepare, scenes draw them from a bank
(`soundscapes/takes.py`) of `takes_per_class` per class; their placement, level, spectrum and room are new every time.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from desed_task.clips import Supervision
from desed_task.data.event_store import EventStore
from desed_task.data.online_options import OnlineOptions
from desed_task.data.scene_mixing import mix_scenes
from desed_task.data.source import Draw, Moment
from desed_task.labels import LabelSet
from desed_task.soundscapes.scene import Scene, draw_scene, fresh_takes
from desed_task.soundscapes.soundbank import seeded
from desed_task.soundscapes.takes import BankedTakes
from desed_task.timeline import FrameGrid

CPU = torch.device("cpu")
# Keys that came later, with what they were before: trainings that were begun without them go on.
_LATER_KEYS = {"levels": "rms", "onsets": "even"}
_LATER_ISOLATION = "audible"


class OnlineScenes:
    """A source (data/source.py) whose clips are made."""

    def __init__(
        self,
        options: OnlineOptions,
        supervision: Supervision,
        batch_size: int,
        labels: LabelSet,
        grid: FrameGrid,
        device: torch.device = CPU,
    ) -> None:
        """device: on which scenes are mixed. A DesedTaskError where a recording cannot be used; see `check_online`."""
        self.name, self.batch_size = options.title, batch_size
        self.num_batches = options.num_scenes() // batch_size
        self._options, self._supervision = options, supervision
        self._labels, self._grid = labels, grid
        # With its number, as the tensors of its batches tell it: the store keeps what it prepared by device.
        self._device = torch.empty(0, device=device).device
        scenes = options.read()
        self._scene = scenes.scene_of(options.part)
        self.soundbank = scenes.build_soundbank(scenes.split_of(options.part))
        self._takes = BankedTakes(fresh_takes(self._scene, self.soundbank), options.takes_per_class, scenes.seed)
        num_samples = grid.num_samples(self._scene.duration_seconds)
        self._num_frames = grid.num_frames(num_samples)
        num_takes = options.takes_per_class * len(self._scene.labels)
        self._store = EventStore(self.soundbank, self._scene.labels, num_samples, num_takes)
        self._responses = self._scene.room.read_files(scenes.sample_rate) if self._scene.room is not None else []

    def scenes(self, moment: Moment, rows: range) -> list[Scene]:
        """What is heard in `rows` of this source's part of a batch."""
        return [
            draw_scene(seeded("online scenes", *moment, row), self._scene, self.soundbank, self._takes) for row in rows
        ]

    def draw(self, moment: Moment, crops: np.random.Generator, rows: range) -> Draw:  # noqa: ARG002 (rows draw alone)
        """The scenes of a batch, and what its supervision says about them."""
        scenes = []
        for row in rows:
            scenes += self.scenes(moment, range(row, row + 1))
            self._store.prepare(scenes[-1], self._device)
        return Draw(
            tuple(f"online{moment.source}_e{moment.epoch}_s{moment.step}_r{row}" for row in rows),
            self._supervision,
            self._strong_rows(scenes if self._supervision == "strong" else ()),
            self._weak_rows(scenes if self._supervision == "weak" else ()),
            scenes,
        )

    def fill(self, draw: Draw, waveforms: Tensor) -> None:
        """Mix the scenes."""
        mix_scenes(draw.clips, self._store, waveforms)

    def describe(self) -> Any:
        """All that scenes are drawn from, wherever it lies."""
        scenes = self._options.read()
        return [
            self._supervision,
            self.batch_size,
            [self._options.part, self.num_batches, self._options.takes_per_class, scenes.version, scenes.seed],
            scenes.split_of(self._options.part),
            _without_later_keys(scenes.soundbank.model_dump_json(exclude={"root", "background_folder"})),
            _without_later_keys(self._scene.model_dump_json(exclude={"room": {"impulse_responses"}})),
            self._responses,
            [self._labels.index(label) for label in self._scene.labels],
            sorted(self._store.contents),
        ]

    def _strong_rows(self, scenes: list[Scene] | tuple[()]) -> NDArray[np.int64]:
        every = [(row, event) for row, scene in enumerate(scenes) for event in scene.events()]
        first = self._grid.frames_at(np.array([event.onset for _, event in every]))
        last = self._grid.frames_after(np.array([event.offset for _, event in every]))
        last = np.minimum(last, self._num_frames)
        rows = np.array([row for row, _ in every], dtype=np.int64)
        classes = np.array([self._labels.index(event.event_label) for _, event in every], dtype=np.int64)
        return np.stack([rows, first, last, classes], axis=1)[first < last]

    def _weak_rows(self, scenes: list[Scene] | tuple[()]) -> NDArray[np.int64]:
        tags = [
            (row, self._labels.index(label))
            for row, scene in enumerate(scenes)
            for label in sorted({event.event_label for event in scene.events()})
        ]
        return np.array(tags, dtype=np.int64).reshape(-1, 2)


def _without_later_keys(described: str) -> dict[str, Any]:
    """A section of the conf, less keys that say what was so before they came."""
    tree: dict[str, Any] = json.loads(described)
    kept = {key: value for key, value in tree.items() if key not in _LATER_KEYS or value != _LATER_KEYS[key]}
    isolation = kept.get("isolation")
    if isinstance(isolation, dict) and isolation["name"] == _LATER_ISOLATION:
        kept["isolation"] = {key: value for key, value in isolation.items() if key != "name"}
    return kept
