"""Listening: a bundle or a checkpoint, heard through one interface; what evaluates, tunes or combines systems asks it.

A bundle listens through the `Detector` that the service runs, a checkpoint, of a detector or a tagger, through torch.
Both cut the same windows, stitch them alike and keep the post-processing that was stored with the model. Who opens a
bundle waits for none of the packages of training, and needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from desed_task.audio.reading import Waveform
from desed_task.chunking import Chunking
from desed_task.clip_pooling import probabilities_of
from desed_task.detector import Detector
from desed_task.errors import CheckpointError
from desed_task.postprocessing.pipeline import PostProcessing, build_postprocessing, read_postprocessing
from desed_task.scores import Scores
from desed_task.views import View

if TYPE_CHECKING:
    from torch import nn

    from desed_task.system import System, SystemOptions


Waveforms = Iterable[tuple[str, Waveform]]
ClipProbs = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True)
class Listener:
    """A system that listens.

    scores: (audio_id, waveform (samples,)) of any lengths -> audio_id -> Scores; clip_probs: the same without frames,
    (classes,) each, of a checkpoint in float64, from which logits can be had again. view: how recordings are cut.
    """

    name: str
    sample_rate: int
    postprocessing: PostProcessing
    view: View
    scores: Callable[[Waveforms], dict[str, Scores]]
    clip_probs: Callable[[Waveforms], dict[str, ClipProbs]]

    def with_postprocessing(self, path: Path) -> Listener:
        """The same system with the filters and thresholds of a file; OptionsError when they do not fit its classes."""
        labels, grid = self.postprocessing.labels, self.postprocessing.grid
        return replace(self, postprocessing=build_postprocessing(read_postprocessing(path, labels), labels, grid))


def open_bundle(folder: Path, device: str = "auto", pieces: bool = False) -> Listener:
    """The bundle in `folder`, as the service hears with it. BundleError or OptionsError when it cannot.

    pieces: recordings were cut into windows before, and what is a window long is heard once.
    """
    detector = Detector(folder, device)
    if pieces:
        detector.bundle = replace(detector.bundle, windowing=_uncut(detector.bundle.windowing))
    bundle = detector.bundle

    def scores(waveforms: Waveforms) -> dict[str, Scores]:
        return {audio_id: detector.scores(waveform) for audio_id, waveform in waveforms}

    def clip_probs(waveforms: Waveforms) -> dict[str, ClipProbs]:
        return {audio_id: detector.scores(waveform).clip_values for audio_id, waveform in waveforms}

    postprocessing = build_postprocessing(bundle.postprocessing, bundle.labels, bundle.grid)
    return Listener(bundle.model_id, bundle.sample_rate, postprocessing, bundle.windowing, scores, clip_probs)


def open_checkpoint(
    path: Path,
    model_name: str | None = None,
    device: str = "auto",
    scaler_range: tuple[float, float] | None = None,
    pieces: bool = False,
) -> Listener:
    """The tagger, the student or the model named of a checkpoint; `pieces` as of `open_bundle`.

    CheckpointError or OptionsError when it cannot.
    """
    from desed_task.prediction import predict, predict_clip_logits
    from desed_task.training.fit import choose_device

    torch_device = choose_device(device)
    system = load_any(path, scaler_range)
    name, model = choose_model(system, model_name, path)
    system.to(torch_device)
    view = _uncut(system.windowing) if pieces else system.windowing

    def scores(waveforms: Waveforms) -> dict[str, Scores]:
        return predict(model, system.ears, waveforms, view, system.labels, torch_device)

    def clip_probs(waveforms: Waveforms) -> dict[str, ClipProbs]:
        logits = predict_clip_logits(model, system.ears, waveforms, view, torch_device)
        return {audio_id: probabilities_of(of_clip) for audio_id, of_clip in logits.items()}

    return Listener(name, system.grid.sample_rate, system.postprocessing, view, scores, clip_probs)


def load_any(path: Path, scaler_range: tuple[float, float] | None = None) -> System[Any]:
    """The detector or the tagger of a checkpoint (or of a run folder's best), in eval mode on the CPU.

    A checkpoint says what it is; the published ones, and the first of ours, are detectors. CheckpointError when it
    cannot be read, or is a tagger's and `scaler_range`, which some published detectors do not tell, is given.
    """
    from desed_task.experiment import system_of
    from desed_task.published.checkpoint import read_checkpoint
    from desed_task.published.tagger_families import ANOTHER, family_of
    from desed_task.published.tagger_files import weights_in
    from desed_task.tagging import TASK, tagger_of
    from desed_task.training.module import CHECKPOINT_KEY
    from desed_task.training.run_folder import find_checkpoint

    path = find_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; name a run folder (version_N) or a .ckpt file")
    checkpoint = read_checkpoint(path)
    described = checkpoint.get(CHECKPOINT_KEY)
    if described is None and (family := family_of(weights_in(checkpoint))) is not ANOTHER:
        raise CheckpointError(
            f"{path}: weights of {family.name}, which do not say their classes and features; make a bundle of them "
            f"with `python recipes/export_onnx.py --checkpoint {path} --conf_file CONF --output DIR`, CONF that of the "
            f"network"
        )
    if not isinstance(described, dict) or described.get("task") != TASK:
        return system_of(checkpoint, path, scaler_range)
    if scaler_range is not None:
        raise CheckpointError(f"--scaler_range: {path} is a tagger, whose front-end it stores; leave the flag out")
    return tagger_of(checkpoint, path)


def choose_model(system: System[SystemOptions], name: str | None, checkpoint: Path) -> tuple[str, nn.Module]:
    """(name, model): the one asked for, else the student, of which the published baselines report, or the tagger."""
    if not system.models:
        raise CheckpointError(f"{checkpoint}: holds no model; train it again")
    if name is None:
        name = "student" if "student" in system.models else next(iter(system.models))
    if name not in system.models:
        raise CheckpointError(f"{checkpoint}: holds no {name}, only {', '.join(system.models)}; choose another --model")
    return name, system.models[name]


def _uncut(view: View) -> View:
    """The view that hears what is a window long once."""
    return replace(view, hop_seconds=view.window_seconds, tail="drop") if isinstance(view, Chunking) else view
