"""A torch model and waveforms -> Scores per clip: the one torch file that makes Scores.

Recordings are cut and stitched by their view, as the service does; windows of several recordings share a batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desed_task.batch import Embedding, Inputs, Predictions, send
from desed_task.clip_pooling import probabilities_of
from desed_task.embeddings.ears import Ears
from desed_task.embeddings.reading import NO_READERS, Readers
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.views import View

BATCH_WINDOWS = 8
# Waveforms and stored embeddings -> what a model hears; `Ears` in use.
Hear = Callable[[Tensor, Mapping[str, Embedding]], Inputs]


def predict(
    model: nn.Module,
    ears: Ears | Hear,
    waveforms: Iterable[tuple[str, NDArray[np.float32]]],
    view: View,
    labels: LabelSet,
    device: torch.device,
    batch_windows: int | None = None,
    stored: Readers = NO_READERS,
) -> dict[str, Scores]:
    """(audio_id, waveform (samples,)) of any lengths -> audio_id -> Scores. The model is left in the mode it was in.

    batch_windows: windows that the model hears at a time (BATCH_WINDOWS when not given). Scores of a model that gives
    no frames have none. stored: by embedder, embeddings of the recordings, for those of a single window.
    """
    with _evaluating(model):
        return {
            heard.audio_id: view.stitch(heard.frames, probabilities_of(heard.logits), labels, heard.num_samples)
            for heard in _hear(model, ears, waveforms, view, device, batch_windows, stored=stored)
        }


def predict_clip_logits(
    model: nn.Module,
    ears: Ears | Hear,
    waveforms: Iterable[tuple[str, NDArray[np.float32]]],
    view: View,
    device: torch.device,
    batch_windows: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """As `predict`: audio_id -> the clip's logits (classes,), pooled by the view; what a validation loss is made of."""
    windows = predict_window_logits(model, ears, waveforms, view, device, batch_windows)
    return {audio_id: view.pool(logits) for audio_id, logits in windows.items()}


def predict_window_logits(
    model: nn.Module,
    ears: Ears | Hear,
    waveforms: Iterable[tuple[str, NDArray[np.float32]]],
    view: View,
    device: torch.device,
    batch_windows: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """As `predict_clip_logits`, not pooled: audio_id -> (windows, classes); what a pooling is learned from."""
    with _evaluating(model):
        return {
            heard.audio_id: heard.logits
            for heard in _hear(model, ears, waveforms, view, device, batch_windows, with_frames=False)
        }


@dataclass(frozen=True)
class _Heard:
    """What was said of the windows of one recording.

    frames: (windows, frames, classes) probabilities on the grid, or None; logits: (windows, classes), of the clip.
    """

    audio_id: str
    num_samples: int
    frames: NDArray[np.float32] | None
    logits: NDArray[np.float32]


def _hear(
    model: nn.Module,
    ears: Ears | Hear,
    waveforms: Iterable[tuple[str, NDArray[np.float32]]],
    view: View,
    device: torch.device,
    batch_windows: int | None,
    with_frames: bool = True,
    stored: Readers = NO_READERS,
) -> Iterator[_Heard]:
    """The recordings in their order, each as soon as all its windows were heard."""
    waiting: deque[tuple[str, int, int]] = deque()  # audio_id, samples, windows

    whole: deque[str | None] = deque()  # of each window, the recording that it is all of

    def windows() -> Iterator[NDArray[np.float32]]:
        for audio_id, waveform in waveforms:
            cut = view.cut(waveform)
            waiting.append((audio_id, len(waveform), len(cut)))
            whole.extend([audio_id if len(cut) == 1 else None] * len(cut))
            yield from cut

    frames: deque[NDArray[np.float32]] = deque()
    logits: deque[NDArray[np.float32]] = deque()
    for batch in _in_batches(windows(), batch_windows or BATCH_WINDOWS):
        embeddings = _stored_of([whole.popleft() for _ in batch], stored, device)
        predictions: Predictions = model(ears(send(batch, device), embeddings)).fitted(view.window_frames)
        has_frames = with_frames and predictions.strong_logits is not None
        logits.extend(predictions.weak_logits.float().cpu().numpy())
        if has_frames:
            frames.extend(predictions.strong_probs.float().cpu().numpy())
        while waiting and waiting[0][2] <= len(logits):
            audio_id, num_samples, num_windows = waiting.popleft()
            of_frames = _first(frames, num_windows) if has_frames else None
            yield _Heard(audio_id, num_samples, of_frames, _first(logits, num_windows))


def _stored_of(audio_ids: Sequence[str | None], stored: Readers, device: torch.device) -> dict[str, Embedding]:
    """By embedder, of windows that are whole recordings; nothing where one of them is not."""
    names = [audio_id for audio_id in audio_ids if audio_id is not None]
    if len(names) < len(audio_ids):
        return {}
    return {name: reader.read(names).to(device) for name, reader in stored.items()}


def _in_batches(windows: Iterable[NDArray[np.float32]], size: int) -> Iterator[NDArray[np.float32]]:
    """(window_samples,) one by one -> (size, window_samples); the last may be smaller."""
    batch: list[NDArray[np.float32]] = []
    for window in windows:
        batch.append(window)
        if len(batch) == size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _first(values: deque[NDArray[np.float32]], number: int) -> NDArray[np.float32]:
    return np.stack([values.popleft() for _ in range(number)])


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    was_training = model.training
    model.train(False)
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)
