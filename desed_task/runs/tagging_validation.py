"""Validation of a tagger: the figures that an epoch is judged by, and what it says about every set, for the ensemble.

The loss is the training's own, without class weights, on the clips' pooled logits: once, not on probabilities.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from desed_task.embeddings.ears import Ears
from desed_task.metrics.dprime import dprime
from desed_task.metrics.tag_ranking import mean_defined, rank_tags
from desed_task.metrics.tag_report import accuracy
from desed_task.runs.tagging_sets import TaggingSet, probabilities, stacked
from desed_task.tagging import VALIDATION, Tagger
from desed_task.training.ranks import ALONE, Ranks
from desed_task.training.tagging_losses import build_clip_loss

LOG = logging.getLogger(__name__)


class TaggingValidation:
    """Hears the validation set; the other sets only when `predict_sets` is asked."""

    def __init__(
        self, sets: Mapping[str, TaggingSet], around: Tagger, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        self._sets, self._around, self._device, self._ranks = sets, around, device, ranks
        self._latest: NDArray[np.float32] | None = None
        self._loss = build_clip_loss(around.options.training.loss)

    def validate(self, model: nn.Module, ears: Ears) -> Mapping[str, float]:
        """model, front-end -> map, mauc, dprime, accuracy (of sets with one class per clip), loss and the objective."""
        of_set = self._sets.get(VALIDATION)
        if of_set is None:
            return {"objective": 0.0}  # of equals, the newest epoch is the best
        logits = of_set.logits(self._around, model, ears, self._device, self._ranks)
        self._latest = stacked(probabilities(logits))
        return self._figures(stacked(logits), self._latest, of_set.truth)

    def predict_sets(self, model: nn.Module, ears: Ears) -> Mapping[str, NDArray[np.float32]]:
        """Key of a set -> (clips, classes) probabilities; the validation set's are those that were just judged."""
        said = {}
        for name, of_set in self._sets.items():
            if name == VALIDATION and self._latest is not None:
                said[of_set.key] = self._latest
            else:
                logits = of_set.logits(self._around, model, ears, self._device, self._ranks)
                said[of_set.key] = stacked(probabilities(logits))
        return said

    def _figures(
        self, logits: NDArray[np.float32], probs: NDArray[np.float32], truth: NDArray[np.bool_]
    ) -> dict[str, float]:
        ranking = rank_tags(probs, truth)
        mauc = mean_defined(ranking.auc)
        tags = torch.from_numpy(truth.astype(np.float32))
        figures = {
            "map": mean_defined(ranking.average_precision),
            "mauc": mauc,
            "dprime": dprime(mauc),
            "accuracy": accuracy(probs, truth),
            "loss": float(self._loss(torch.from_numpy(logits), tags).mean()),
        }
        defined = {name: figure for name, figure in figures.items() if np.isfinite(figure)}
        metric = self._around.options.training.selection_metric
        if metric not in defined:
            LOG.warning("%s of %s is not defined and counts 0", metric, self._sets[VALIDATION].clip_set.name)
        return {**defined, "objective": defined.get(metric, 0.0)}
