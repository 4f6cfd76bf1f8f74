"""What must stay aligned stays aligned: mixup by pencil, and the augmentations that leave labels alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from desed_task.augment.filter_augment import FilterAugment, FilterAugmentOptions
from desed_task.augment.frequency_mask import FrequencyMask, FrequencyMaskOptions
from desed_task.augment.mixup import Mixup, MixupOptions
from desed_task.batch import Embedding, Inputs, Targets

STRONG, WEAK, UNLABELED = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]


def batch_of_twelve() -> tuple[Inputs, Targets]:
    """Clip i: mel i + 1 everywhere, embedding 100 i; its labels are i / 100 in every frame, so that a mix can be read.

    Labels that are so small never reach the clamp of the hard mix.
    """
    number = torch.arange(12, dtype=torch.float32).view(12, 1, 1)
    inputs = Inputs(
        (number + 1).expand(12, 6, 8).clone(),
        {"beats": Embedding((100 * number).expand(12, 3, 2).clone(), is_timed=True)},
    )
    has_strong, has_weak = torch.zeros(12, dtype=torch.bool), torch.zeros(12, dtype=torch.bool)
    has_strong[STRONG], has_weak[WEAK] = True, True
    strong = (number / 100).expand(12, 5, 3).clone()
    return inputs, Targets(strong, strong[:, 0].clone(), has_strong, has_weak)


def mixed(seed: int, **options: Any) -> tuple[Inputs, Targets]:
    inputs, targets = batch_of_twelve()
    return Mixup(MixupOptions(probability=1.0, **options))(inputs, targets, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(20))
def test_groups_never_mix_and_unlabeled_clips_are_left_alone(seed: int) -> None:
    values = mixed(seed)[0].mel[:, 0, 0]
    rounding = 1e-5
    assert 1 - rounding <= values[STRONG].min() <= values[STRONG].max() <= 4 + rounding
    assert 5 - rounding <= values[WEAK].min() <= values[WEAK].max() <= 8 + rounding
    assert values[UNLABELED].tolist() == [9, 10, 11, 12]
    # A permutation with one share keeps each group's sum.
    torch.testing.assert_close(values[STRONG].sum(), torch.tensor(10.0))
    torch.testing.assert_close(values[WEAK].sum(), torch.tensor(26.0))


@pytest.mark.parametrize("seed", range(5))
def test_features_embeddings_and_soft_labels_have_the_same_partners_and_shares(seed: int) -> None:
    inputs, targets = mixed(seed)
    number = inputs.mel[:, :1, :1] - 1
    torch.testing.assert_close(inputs.mel, (number + 1).expand(12, 6, 8))
    torch.testing.assert_close(inputs.embeddings["beats"].values, (100 * number).expand(12, 3, 2), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(targets.strong, (number / 100).expand(12, 5, 3))
    torch.testing.assert_close(targets.weak, targets.strong[:, 0])


def test_hard_labels_are_the_sum_of_both_clips() -> None:
    (soft_inputs, _), (hard_inputs, hard_targets) = mixed(3), mixed(3, labels="hard")
    assert torch.equal(soft_inputs.mel, hard_inputs.mel)
    for group in (STRONG, WEAK):
        # partner = label sum - own number; it belongs to the group, and the mel lies between both
        for clip in group:
            partner = round(100 * float(hard_targets.strong[clip, 0, 0])) - clip
            assert partner in group
            assert min(clip, partner) <= float(hard_inputs.mel[clip, 0, 0]) - 1 <= max(clip, partner)


def test_the_share_is_drawn_once_per_group_and_call() -> None:
    weights = [Mixup(MixupOptions())._draw(batch_of_twelve()[1], np.random.default_rng(seed))[1] for seed in range(200)]
    for weight in weights:
        assert len(weight[STRONG].unique()) == len(weight[WEAK].unique()) == 1
        assert weight[UNLABELED].tolist() == [1.0] * 4
    shares = np.array([float(weight[0]) for weight in weights])
    # Beta(.2, .2): mean 1/2, variance 1 / (4 (2 * .2 + 1)) = .179
    assert shares.mean() == pytest.approx(0.5, abs=0.1)
    assert shares.var() == pytest.approx(0.179, abs=0.03)
    assert not np.allclose(shares, [float(weight[4]) for weight in weights])


def test_probability_is_the_share_of_steps_that_mix() -> None:
    inputs, targets = batch_of_twelve()
    mixup = Mixup(MixupOptions(probability=0.5))
    untouched = sum(mixup(inputs, targets, np.random.default_rng(seed))[0] is inputs for seed in range(400))
    assert untouched == pytest.approx(200, abs=40)


def test_one_clip_alone_in_its_group_is_left_alone() -> None:
    inputs, targets = batch_of_twelve()
    one_weak = Targets(targets.strong, targets.weak, torch.zeros(12, dtype=torch.bool), targets.has_weak.clone())
    one_weak.has_weak[5:] = False
    output, _ = Mixup(MixupOptions(probability=1.0))(inputs, one_weak, np.random.default_rng(0))
    assert torch.equal(output.mel, inputs.mel)


def random_batch() -> tuple[Inputs, Targets]:
    torch.manual_seed(0)
    _, targets = batch_of_twelve()
    return Inputs(torch.rand(12, 6, 32) + 0.1, {"beats": Embedding(torch.rand(12, 3, 2), is_timed=True)}), targets


@pytest.mark.parametrize(
    "augmentation", [FilterAugment(FilterAugmentOptions()), FrequencyMask(FrequencyMaskOptions(max_bands=8))]
)
def test_augmentations_of_one_clip_leave_labels_embeddings_and_shapes(augmentation: Any) -> None:
    inputs, targets = random_batch()
    before = inputs.mel.clone()
    output, same = augmentation(inputs, targets, np.random.default_rng(0))
    assert same is targets
    assert output.embeddings is inputs.embeddings
    assert output.mel.shape == before.shape
    assert output.mel.dtype == torch.float32
    assert torch.equal(inputs.mel, before)
    assert not torch.equal(output.mel, before)
    again, _ = augmentation(inputs, targets, np.random.default_rng(0))
    assert torch.equal(again.mel, output.mel)


def test_filter_gains_are_one_curve_per_clip_within_the_limit() -> None:
    inputs, targets = random_batch()
    output, _ = FilterAugment(FilterAugmentOptions(max_gain=6.0))(inputs, targets, np.random.default_rng(1))
    gains = 20 * torch.log10(output.mel / inputs.mel)
    torch.testing.assert_close(gains, gains[:, :1].expand_as(gains), rtol=0, atol=1e-4)
    assert gains.abs().max() <= 6.0 + 1e-4
    assert (gains[0, 0] - gains[1, 0]).abs().max() > 0.1
    assert (gains[:, 0].diff(dim=1).abs().max()) > 0.01


def test_frequency_mask_sets_one_run_of_bands_to_the_lowest_value() -> None:
    inputs, targets = random_batch()
    output, _ = FrequencyMask(FrequencyMaskOptions(max_bands=8))(inputs, targets, np.random.default_rng(1))
    widths = []
    for clip in range(12):
        masked = torch.nonzero((output.mel[clip] == inputs.mel[clip].min()).all(dim=0)).flatten().tolist()
        assert masked == list(range(masked[0], masked[-1] + 1)) if masked else True
        kept = [band for band in range(32) if band not in masked]
        assert torch.equal(output.mel[clip][:, kept], inputs.mel[clip][:, kept])
        widths.append(len(masked))
    assert max(widths) <= 8
    assert len(set(widths)) > 2


def test_a_mask_wider_than_the_bands_is_cut_to_them() -> None:
    inputs, targets = random_batch()
    for seed in range(10):
        output, _ = FrequencyMask(FrequencyMaskOptions(max_bands=500))(inputs, targets, np.random.default_rng(seed))
        assert output.mel.shape == inputs.mel.shape


@pytest.mark.parametrize("num_bands", [(0, 2), (5, 2)])
def test_impossible_numbers_of_pieces_are_refused(num_bands: tuple[int, int]) -> None:
    with pytest.raises(ValidationError, match="not a fewest, at least 1, and a most"):
        FilterAugmentOptions(num_bands=num_bands)


def of_weak_clips(num_clips: int = 400) -> tuple[Inputs, Targets]:
    """Clip i holds i everywhere, and i / 1000 as its tag."""
    number = torch.arange(float(num_clips))
    weak = (number / 1000).view(-1, 1).repeat(1, 2)
    has_weak = torch.ones(num_clips, dtype=torch.bool)
    return Inputs(number.view(-1, 1, 1).repeat(1, 4, 3)), Targets(weak[:, None], weak, ~has_weak, has_weak)


def test_a_share_per_clip_mixes_tags_as_it_mixes_sounds() -> None:
    inputs, targets = of_weak_clips()
    options = MixupOptions(domain="normalised", per="clip", probability=1.0, alpha=0.3, larger=True)
    mixup = Mixup(options)
    assert mixup.domain == "normalised"
    output, known = mixup(inputs, targets, np.random.default_rng(0))
    torch.testing.assert_close(output.mel[:, 0, 0] / 1000, known.weak[:, 0])
    partner, weight = mixup._draw(targets, np.random.default_rng(0))
    assert sorted(partner.tolist()) == list(range(400))
    assert weight.min() >= 0.5
    # max(l, 1 - l) of l ~ Beta(.3, .3): 1/2 + the mean distance from 1/2, which a sum over a grid gives
    drawn = np.random.default_rng(1).beta(0.3, 0.3, 100_000)
    assert float(weight.mean()) == pytest.approx(0.5 + np.abs(drawn - 0.5).mean(), abs=0.02)


def test_mixing_can_be_decided_per_clip() -> None:
    inputs, targets = of_weak_clips()
    output, known = Mixup(MixupOptions(per="clip", probability=0.25, alpha=10.0))(
        inputs, targets, np.random.default_rng(0)
    )
    mixed = (output.mel != inputs.mel).flatten(1).any(dim=1)
    assert int(mixed.sum()) == pytest.approx(100, abs=25)
    assert torch.equal(known.weak[~mixed], targets.weak[~mixed])


@pytest.mark.parametrize("seed", range(5))
def test_groups_never_mix_with_a_share_per_clip_either(seed: int) -> None:
    values = mixed(seed, per="clip")[0].mel[:, 0, 0]
    rounding = 1e-5
    assert 1 - rounding <= values[STRONG].min() <= values[STRONG].max() <= 4 + rounding
    assert 5 - rounding <= values[WEAK].min() <= values[WEAK].max() <= 8 + rounding
    assert values[UNLABELED].tolist() == [9, 10, 11, 12]
