"""Validation: the figures that an epoch is judged by, on sets that are packed once.

The objective is the sum over the sets: the selection metric of each strong one, the macro F1 of the tags of each weak
one (the DESED baselines: intersection F1 of the synthetic set + tagging F1 of the weak set).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import torch
from torch import nn

from desed_task.clips import ClipSet
from desed_task.data.joined import open_stores
from desed_task.data.mapped import ClipStore
from desed_task.embeddings.ears import Ears
from desed_task.events import EventTable
from desed_task.experiment import SedOptions, as_evaluated, open_readers
from desed_task.metrics.selection import SelectionMetric, selection_figure
from desed_task.metrics.tagging import tagging_f1
from desed_task.prediction import predict
from desed_task.scores import Scores
from desed_task.system import System, stored_waveforms
from desed_task.training.ranks import ALONE, Ranks

LOG = logging.getLogger(__name__)


def build_validation(
    clip_sets: Sequence[ClipSet], around: System[SedOptions], device: torch.device, ranks: Ranks = ALONE
) -> Callable[[nn.Module, Ears], Mapping[str, float]]:
    """model, ears -> figures on the validation sets, "objective" among them; packs the sets here, once.

    Each rank predicts its share of the clips; rank 0 computes the figures, and all return the same.
    """
    options = around.options
    sets: list[tuple[ClipSet, ClipStore]] = [
        (clip_set, open_stores(clip_set, options.data.store, around.grid.sample_rate)) for clip_set in clip_sets
    ]
    stored = [open_readers(options, clip_set) for clip_set in clip_sets]

    def predict_share(model: nn.Module, ears: Ears) -> list[dict[str, Scores]]:
        share = ranks.share
        return [
            predict(
                model,
                ears,
                # All are cut, so that the random excerpts do not depend on the number of ranks.
                islice(as_evaluated(stored_waveforms(store), around), share.rank, None, share.world),
                around.windowing,
                around.labels,
                device,
                stored=readers,
            )
            for (_, store), readers in zip(sets, stored, strict=True)
        ]

    def figures_of(predicted: Sequence[Sequence[Mapping[str, Scores]]]) -> dict[str, float]:
        figures: dict[str, float] = {"objective": 0.0}
        for number, (clip_set, store) in enumerate(sets):
            known = {audio_id: clip for of_rank in predicted for audio_id, clip in of_rank[number].items()}
            scores = {audio_id: known[audio_id] for audio_id in store.audio_ids}
            name, figure = _selection_figure(scores, clip_set, around, options.training.selection_metric)
            figures[f"{name} of {clip_set.name}" if name in figures else name] = figure
            figures["objective"] += figure
        return figures

    def validate(model: nn.Module, ears: Ears) -> Mapping[str, float]:
        own = ranks.every(ranks.breakable(lambda: predict_share(model, ears)))
        predicted = ranks.gather(own)
        return ranks.first(ranks.breakable(lambda: figures_of(predicted)))

    return validate


def _selection_figure(
    scores: Mapping[str, Scores], clip_set: ClipSet, system: System[SedOptions], metric: SelectionMetric
) -> tuple[str, float]:
    """What a validation set adds to the objective, and its name in the log."""
    if clip_set.supervision == "weak":
        values = {audio_id: clip.clip_values for audio_id, clip in scores.items()}
        return "weak_f1_macro", tagging_f1(values, clip_set.tags, system.labels).macro or 0.0
    durations = {clip.audio_id: clip.duration for clip in clip_set.clips}
    truth = EventTable(clip_set.events)
    try:
        return metric, selection_figure(scores, truth, durations, system.postprocessing, metric)
    except Exception as error:  # hours of training must not end in the traceback of one figure
        LOG.warning("%s of %s could not be computed and counts 0: %s", metric, clip_set.name, error)
        return metric, 0.0
