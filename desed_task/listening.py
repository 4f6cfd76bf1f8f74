"""Listening: a bundle or a checkpoint, heard through one interface; what evaluates, tunes or combines systems asks it.

A bundle listens through the `Detector` that the service runs, a checkpoint through torch. Both cut the same windows,
stitch them alike and keep the post-processing that was stored with the model. Who opens a bundle waits for none of the
packages of training, and needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from desed_task.audio.reading import Waveform
from desed_task.detector import Detector
from desed_task.errors import CheckpointError
from desed_task.postprocessing.pipeline import PostProcessing, build_postprocessing, read_postprocessing
from desed_task.scores import Scores

if TYPE_CHECKING:
    from torch import nn

    from desed_task.system import System, SystemOptions


@dataclass(frozen=True)
class Listener:
    """A system that listens. scores: (audio_id, waveform (samples,)) of any lengths -> audio_id -> Scores."""

    name: str
    sample_rate: int
    postprocessing: PostProcessing
    scores: Callable[[Iterable[tuple[str, Waveform]]], dict[str, Scores]]

    def with_postprocessing(self, path: Path) -> Listener:
        """The same system with the filters and thresholds of a file; OptionsError when they do not fit its classes."""
        labels, grid = self.postprocessing.labels, self.postprocessing.grid
        return replace(self, postprocessing=build_postprocessing(read_postprocessing(path, labels), labels, grid))


def open_bundle(folder: Path, device: str = "auto") -> Listener:
    """The bundle in `folder`, as the service hears with it. BundleError or OptionsError when it cannot."""
    detector = Detector(folder, device)
    bundle = detector.bundle

    def scores(waveforms: Iterable[tuple[str, Waveform]]) -> dict[str, Scores]:
        return {audio_id: detector.scores(waveform) for audio_id, waveform in waveforms}

    postprocessing = build_postprocessing(bundle.postprocessing, bundle.labels, bundle.grid)
    return Listener(bundle.model_id, bundle.sample_rate, postprocessing, scores)


def open_checkpoint(
    path: Path, model_name: str | None = None, device: str = "auto", scaler_range: tuple[float, float] | None = None
) -> Listener:
    """The student (or the model named) of a checkpoint. CheckpointError or OptionsError when it cannot."""
    from desed_task.experiment import load_system
    from desed_task.prediction import predict
    from desed_task.training.fit import choose_device

    torch_device = choose_device(device)
    system = load_system(path, scaler_range)
    name, model = choose_model(system, model_name, path)
    system.to(torch_device)

    def scores(waveforms: Iterable[tuple[str, Waveform]]) -> dict[str, Scores]:
        return predict(model, system.frontend, waveforms, system.windowing, system.labels, torch_device)

    return Listener(name, system.grid.sample_rate, system.postprocessing, scores)


def choose_model(system: System[SystemOptions], name: str | None, checkpoint: Path) -> tuple[str, nn.Module]:
    """(name, model): the one asked for, else the student, of which the published baselines report."""
    if not system.models:
        raise CheckpointError(f"{checkpoint}: holds no model (sed_student, sed_teacher); train it again")
    if name is None:
        name = "student" if "student" in system.models else next(iter(system.models))
    if name not in system.models:
        raise CheckpointError(f"{checkpoint}: holds no {name}, only {', '.join(system.models)}; choose another --model")
    return name, system.models[name]
