"""What a tagger hears in an epoch of its training, without training: for statistics that are measured on it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from desed_task.batch import Inputs
from desed_task.data.dataset import EpochSampler
from desed_task.system import build_augmentations
from desed_task.tagging import Tagger, build_tagging_dataset, read_training_sets
from desed_task.training.step import prepare


def training_inputs(tagger: Tagger, device: torch.device, limit: int | None = None) -> Iterator[Inputs]:
    """The batches of the first epoch, augmented as in the training, on `device`; `limit`: the first clips alone."""
    options = tagger.options
    clip_sets = read_training_sets(options, tagger.labels, limit)
    dataset = build_tagging_dataset(options, clip_sets, tagger.labels, tagger.grid, device)
    augmentations, ears = build_augmentations(options), tagger.ears.to(device)
    for position in EpochSampler(dataset):
        rng = np.random.default_rng((options.training.seed, *position))
        inputs, _ = prepare(dataset[position], ears, augmentations, rng)
        yield inputs
