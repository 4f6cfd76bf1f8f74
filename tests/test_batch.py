"""The tensor nouns: mixing acts on everything alike, and what is known about a clip stays with it."""

from __future__ import annotations

import pytest
import torch

from desed_task.batch import Batch, Embedding, Inputs, Predictions, Targets

PARTNER, WEIGHT = torch.tensor([1, 0, 2]), torch.tensor([0.75, 0.5, 1.0])


def targets() -> Targets:
    strong = torch.zeros(3, 2, 2)
    strong[0, 0, 0] = 1.0  # clip 0: class 0 in frame 0
    strong[1, :, 1] = 1.0  # clip 1: class 1 throughout
    weak = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    return Targets(strong, weak, torch.tensor([True, True, False]), torch.tensor([False, False, True]))


def test_features_and_embeddings_are_mixed_alike() -> None:
    values = torch.tensor([0.0, 4.0, 8.0])
    beats = Embedding(values.view(3, 1, 1).expand(3, 4, 7), is_timed=True)
    inputs = Inputs(values.view(3, 1, 1).expand(3, 2, 5), {"beats": beats})
    mixed = inputs.mix(PARTNER, WEIGHT)
    by_pencil = torch.tensor([1.0, 2.0, 8.0])  # .75 * 0 + .25 * 4, .5 * 4 + .5 * 0, 8 as it was
    assert torch.equal(mixed.mel, by_pencil.view(3, 1, 1).expand(3, 2, 5))
    assert torch.equal(mixed.embeddings["beats"].values, by_pencil.view(3, 1, 1).expand(3, 4, 7))


def test_soft_labels_follow_the_share() -> None:
    mixed = targets().mix(PARTNER, WEIGHT)
    assert mixed.strong[0].tolist() == [[0.75, 0.25], [0.0, 0.25]]
    assert mixed.strong[1].tolist() == [[0.5, 0.5], [0.0, 0.5]]
    assert mixed.weak.tolist() == [[0.75, 0.25], [0.5, 0.5], [1.0, 1.0]]


def test_hard_labels_are_both_in_full() -> None:
    mixed = targets().mix(PARTNER, WEIGHT, hard=True)
    assert mixed.strong[0].tolist() == mixed.strong[1].tolist() == [[1.0, 1.0], [0.0, 1.0]]
    assert mixed.weak.tolist() == [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]


def test_mixing_leaves_the_supervision() -> None:
    for hard in (False, True):
        mixed = targets().mix(PARTNER, WEIGHT, hard)
        assert torch.equal(mixed.has_strong, targets().has_strong)
        assert torch.equal(mixed.has_weak, targets().has_weak)


def test_probabilities_are_the_sigmoid_of_the_logits() -> None:
    predictions = Predictions(torch.zeros(1, 2, 3), torch.tensor([[0.0, 100.0, -100.0]]))
    assert predictions.strong_probs.unique().tolist() == [0.5]
    assert predictions.weak_probs.tolist() == [[0.5, 1.0, pytest.approx(0.0)]]


def test_a_batch_moves_as_a_whole() -> None:
    batch = Batch(torch.zeros(3, 8), targets(), ("a", "b", "c"))
    moved = batch.to(torch.device("meta"))
    assert len(moved) == 3
    assert moved.audio_ids == ("a", "b", "c")
    assert {moved.waveform.device.type, *(part.device.type for part in vars(moved.targets).values())} == {"meta"}
