"""A torch model and waveforms -> Scores per clip: the one torch file that makes Scores.

Windows of several recordings share a batch; they are cut and stitched by `windowing`, as the service does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from desed_task.batch import Inputs, Predictions
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.windowing import Windowing

BATCH_WINDOWS = 8


def predict(
    model: nn.Module,
    frontend: Callable[[Tensor], Tensor],
    waveforms: Iterable[tuple[str, NDArray[np.float32]]],
    windowing: Windowing,
    labels: LabelSet,
    device: torch.device,
) -> dict[str, Scores]:
    """(audio_id, waveform (samples,)) of any lengths -> audio_id -> Scores. The model is left in the mode it was in."""
    was_training = model.training
    model.train(False)
    scores: dict[str, Scores] = {}
    try:
        with torch.inference_mode():
            for recordings in _in_batches(waveforms, windowing):
                windows = torch.from_numpy(np.concatenate([cut for _, cut, _ in recordings]))
                # An hour in one recording is hundreds of windows: never more at once than a batch.
                heard = [model(Inputs(frontend(some.to(device)))) for some in torch.split(windows, BATCH_WINDOWS)]
                strong, weak = _probabilities(heard)
                first = 0
                for audio_id, cut, num_samples in recordings:
                    part = slice(first, first + len(cut))
                    scores[audio_id] = windowing.stitch(strong[part], weak[part], labels, num_samples)
                    first += len(cut)
    finally:
        model.train(was_training)
    return scores


def _probabilities(heard: Sequence[Predictions]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    strong = torch.cat([predictions.strong_probs.float().cpu() for predictions in heard])
    weak = torch.cat([predictions.weak_probs.float().cpu() for predictions in heard])
    return strong.numpy(), weak.numpy()


def _in_batches(
    waveforms: Iterable[tuple[str, NDArray[np.float32]]], windowing: Windowing
) -> Iterator[list[tuple[str, NDArray[np.float32], int]]]:
    """Lists of (audio_id, windows, samples of the recording) with about BATCH_WINDOWS windows each."""
    recordings: list[tuple[str, NDArray[np.float32], int]] = []
    for audio_id, waveform in waveforms:
        recordings.append((audio_id, windowing.cut(waveform), len(waveform)))
        if sum(len(cut) for _, cut, _ in recordings) >= BATCH_WINDOWS:
            yield recordings
            recordings = []
    if recordings:
        yield recordings
