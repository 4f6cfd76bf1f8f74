"""Moments of features: streamed as of all values at once, between augmentations and normalisation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from desed_task.augment.spec_augment import SpecAugment, SpecAugmentOptions
from desed_task.batch import Batch, Inputs, Targets
from desed_task.errors import DesedTaskError
from desed_task.features.frontend import StagedFrontend
from desed_task.training.feature_statistics import Moments, log_features, measure


def test_moments_of_parts_are_those_of_the_whole() -> None:
    generator = torch.Generator().manual_seed(0)
    # A mean that is large beside the deviation, which a sum of squares would lose in single precision
    parts = [
        1000 + scale * torch.randn(size, 7, generator=generator) for size, scale in ((3, 1.0), (50, 0.1), (1, 2.0))
    ]
    moments, whole = measure(parts), torch.cat(parts).double()
    assert moments.count == 54 * 7
    assert moments.mean == pytest.approx(float(whole.mean()), rel=1e-12)
    assert moments.std == pytest.approx(float(whole.std()), rel=1e-9)


def test_moments_by_hand() -> None:
    moments = Moments().with_values(torch.tensor([1.0, 3.0])).with_values(torch.tensor([5.0, 7.0]))
    assert (moments.mean, moments.squares) == (4.0, 20.0)
    assert moments.std == pytest.approx((20 / 3) ** 0.5)
    assert measure([torch.tensor([2.0])]).std == 0.0


def test_no_features_and_no_numbers_are_refused() -> None:
    with pytest.raises(DesedTaskError, match="no features"):
        measure([])
    with pytest.raises(DesedTaskError, match="no numbers"):
        measure([torch.tensor([1.0, float("nan")])])


class Tenfold(StagedFrontend):
    """A front-end whose stages can be told apart."""

    def spectrum(self, waveform: Tensor) -> Tensor:
        return waveform.view(len(waveform), -1, 4)

    def compress(self, spectrum: Tensor) -> Tensor:
        return 10 * spectrum

    def normalise(self, logarithm: Tensor) -> Tensor:
        return torch.zeros_like(logarithm)


class Plus:
    """Adds a number in its domain."""

    def __init__(self, domain: str, number: float) -> None:
        self.domain, self.number = domain, number

    def __call__(self, inputs: Inputs, targets: Targets, rng: np.random.Generator) -> tuple[Inputs, Targets]:
        return Inputs(inputs.mel + self.number), targets


@pytest.fixture
def make_batches() -> Callable[[int], list[Batch]]:
    def make(count: int) -> list[Batch]:
        known = torch.ones(2).bool()
        targets = Targets(torch.zeros(2, 1, 1), torch.ones(2, 1), ~known, known)
        return [Batch(torch.ones(2, 8), targets, ("a", "b"))] * count

    return make


def test_features_are_those_before_the_normalisation(make_batches: Callable[[int], list[Batch]]) -> None:
    augmentations = [Plus("linear", 1.0), Plus("log", 0.5), Plus("normalised", 77.0)]
    batches = list(log_features(make_batches(3), Tenfold(), augmentations, seed=0))
    assert [batch.shape for batch in batches] == [(2, 2, 4)] * 3
    # 10 (1 + 1) + .5
    assert torch.equal(torch.stack(batches), torch.full((3, 2, 2, 4), 20.5))
    assert torch.equal(next(log_features(make_batches(1), Tenfold(), [], seed=0)), torch.full((2, 2, 4), 10.0))


def test_masks_lower_the_mean_and_are_drawn_anew_for_each_batch(make_batches: Callable[[int], list[Batch]]) -> None:
    masks = SpecAugment(SpecAugmentOptions(max_bands=4, max_frames=2))
    batches = list(log_features(make_batches(40), Tenfold(), [masks], seed=1))
    moments = measure(batches)
    # Widths 0 .. 3 of 4 bands and 0, 1 of 2 frames: (1 - 1.5 / 4) (1 - .5 / 2) of the values are left
    assert moments.mean == pytest.approx(10 * 0.625 * 0.75, abs=0.7)
    again = measure(log_features(make_batches(40), Tenfold(), [masks], seed=1))
    assert again == moments
