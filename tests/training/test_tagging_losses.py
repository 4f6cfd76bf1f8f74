"""Clip losses by hand, on two clips of two classes: ln 2 is the cross-entropy of an undecided score."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from desed_task.batch import Inputs, Predictions, Targets
from desed_task.errors import OptionsError
from desed_task.training.batch_split import add_up, part_of_targets, shares_of
from desed_task.training.class_weights import read_class_weights
from desed_task.training.tagging_losses import (
    BceOptions,
    ClipLossOptions,
    CrossEntropyOptions,
    FocalOptions,
    build_clip_loss,
    clip_loss,
    compute_tagging_losses,
)

# A logit of ln 3 is a probability of 3/4.
LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
LOGITS, TAGS = torch.tensor([[0.0, LN3], [LN3, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
# -ln(1/2) = ln 2, -ln(1 - 3/4) = ln 4; -ln(3/4) = ln 4 - ln 3, ln 2
CLIP_0, CLIP_1 = (LN2 + LN4) / 2, (LN4 - LN3 + LN2) / 2
ALL_LOSSES: list[ClipLossOptions] = [BceOptions(), FocalOptions(), CrossEntropyOptions()]


def targets_of(weak: Tensor, has_weak: list[bool]) -> Targets:
    return Targets(
        torch.zeros(len(weak), 4, weak.shape[1]), weak, torch.zeros(len(weak)).bool(), torch.tensor(has_weak)
    )


def random_tags(clips: int = 6, classes: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(clips, classes, generator=generator), torch.rand(clips, classes, generator=generator)


@pytest.mark.parametrize(
    ("has_weak", "expected"),
    [([True, False], CLIP_0), ([True, True], (CLIP_0 + CLIP_1) / 2), ([False, False], 0.0)],
)
def test_bce_is_the_mean_over_the_tagged_clips(has_weak: list[bool], expected: float) -> None:
    loss = clip_loss(Predictions(None, LOGITS), targets_of(TAGS, has_weak), build_clip_loss(BceOptions()))
    assert loss.item() == pytest.approx(expected)


def test_class_weights_multiply_the_positive_part() -> None:
    loss = build_clip_loss(BceOptions(), torch.tensor([3.0, 5.0]))
    # class 0 is positive in both clips, class 1 in none
    expected = ((3 * LN2 + LN4) / 2 + (3 * (LN4 - LN3) + LN2) / 2) / 2
    assert clip_loss(Predictions(None, LOGITS), targets_of(TAGS, [True, True]), loss).item() == pytest.approx(expected)
    assert loss.state_dict() == {}


def test_bce_over_all_clips_is_that_of_torch() -> None:
    logits, tags = random_tags()
    weights = torch.arange(1.0, 6.0)
    mine = clip_loss(Predictions(None, logits), targets_of(tags, [True] * 6), build_clip_loss(BceOptions(), weights))
    torch.testing.assert_close(mine, nn.BCEWithLogitsLoss(pos_weight=weights)(logits, tags))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.7, 0.5), (0.5, 0.0)])
def test_focal_loss_is_that_of_torchvision(alpha: float, gamma: float) -> None:
    logits, tags = random_tags()
    for truth in (tags, tags.round()):
        mine = build_clip_loss(FocalOptions(alpha=alpha, gamma=gamma))(logits, truth)
        theirs = sigmoid_focal_loss(logits, truth, alpha=alpha, gamma=gamma)
        torch.testing.assert_close(mine, theirs.mean(dim=1))


def test_focal_loss_by_hand() -> None:
    # p = 3/4 and 1/2, both true: 1/4 [(1/4)^2 ln 4/3 + (1/2)^2 ln 2] / 2
    mine = build_clip_loss(FocalOptions())(torch.tensor([[LN3, 0.0]]), torch.ones(1, 2))
    assert mine.item() == pytest.approx(0.25 * ((LN4 - LN3) / 16 + LN2 / 4) / 2)


def test_cross_entropy_is_over_classes_that_exclude_one_another() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4)
    loss = build_clip_loss(CrossEntropyOptions())
    assert loss(LOGITS, TAGS).tolist() == pytest.approx([LN4, LN4 - LN3])
    # Half the one, half the other, as mixup makes it
    assert loss(LOGITS, torch.full((2, 2), 0.5)).tolist() == pytest.approx([LN4 - LN3 / 2] * 2)


@pytest.mark.parametrize("options", [BceOptions(), CrossEntropyOptions()], ids=lambda options: options.name)
def test_distillation_is_the_loss_on_blended_tags(options: ClipLossOptions) -> None:
    """EfficientAT: .1 of the loss on labels, .9 of that on a teacher's probabilities."""
    logits, teacher = random_tags()
    labels, loss = teacher.round(), build_clip_loss(options)
    apart = 0.1 * loss(logits, labels) + 0.9 * loss(logits, teacher)
    torch.testing.assert_close(loss(logits, 0.1 * labels + 0.9 * teacher), apart)
    # and so with mixup, which mixes labels and the teacher's probabilities with one share
    share, partner = torch.rand(6, 1), torch.randperm(6)
    blended = 0.1 * labels + 0.9 * teacher
    of_both = share[:, 0] * loss(logits, blended) + (1 - share[:, 0]) * loss(logits, blended[partner])
    torch.testing.assert_close(loss(logits, share * blended + (1 - share) * blended[partner]), of_both)


def test_distillation_under_the_focal_loss_is_not() -> None:
    logits, teacher = random_tags()
    labels, loss = teacher.round(), build_clip_loss(FocalOptions())
    apart = 0.1 * loss(logits, labels) + 0.9 * loss(logits, teacher)
    assert not torch.allclose(loss(logits, 0.1 * labels + 0.9 * teacher), apart)


class Linear(nn.Module):
    """Clip logits from the mean over time, frame logits besides."""

    def __init__(self, frames: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 5)
        self.frames = frames

    def forward(self, inputs: Inputs) -> Predictions:
        strong = self.linear(inputs.mel)
        return Predictions(strong if self.frames else None, strong.mean(dim=1))


@pytest.mark.parametrize("options", ALL_LOSSES, ids=lambda options: options.name)
def test_frames_play_no_part(options: ClipLossOptions) -> None:
    torch.manual_seed(0)
    model, loss = Linear(), build_clip_loss(options)
    inputs, targets = Inputs(torch.randn(6, 12, 8)), targets_of(random_tags()[1], [True] * 6)
    with_frames = compute_tagging_losses(model, inputs, targets, loss)
    model.frames = False
    without = compute_tagging_losses(model, inputs, targets, loss)
    assert with_frames.student.strong_logits is not None and without.student.strong_logits is None
    assert with_frames.total.item() == without.total.item()
    elsewhere = Targets(torch.rand(6, 3, 5), targets.weak, torch.ones(6).bool(), targets.has_weak)
    assert compute_tagging_losses(model, inputs, elsewhere, loss).total.item() == without.total.item()


@pytest.mark.parametrize("options", ALL_LOSSES, ids=lambda options: options.name)
@pytest.mark.parametrize("parts", [2, 3, 6])
def test_the_parts_of_a_batch_add_up_to_the_whole(options: ClipLossOptions, parts: int) -> None:
    torch.manual_seed(0)
    model, loss = Linear(), build_clip_loss(options)
    # Of three parts the second is without tags
    inputs = Inputs(torch.randn(6, 12, 8))
    targets = targets_of(random_tags()[1], [True, False, True, True, False, True])
    whole = compute_tagging_losses(model, inputs, targets, loss)
    whole.total.backward()
    gradient = model.linear.weight.grad
    assert gradient is not None
    expected, model.linear.weight.grad = gradient.clone(), None
    of_parts = []
    for part in range(parts):
        shares = shares_of(targets, part, parts)
        losses = compute_tagging_losses(
            model, inputs.part(part, parts), part_of_targets(targets, part, parts), loss, shares
        )
        losses.total.backward()
        of_parts.append(losses)
    summed = add_up(of_parts)
    torch.testing.assert_close(summed.total, whole.total)
    torch.testing.assert_close(summed.terms, whole.terms)
    torch.testing.assert_close(summed.student.weak_logits, whole.student.weak_logits)
    torch.testing.assert_close(model.linear.weight.grad, expected)


def test_logits_of_half_precision_are_judged_in_single() -> None:
    for options in ALL_LOSSES:
        said = Predictions(None, torch.tensor([[20.0, -20.0]], dtype=torch.float16))
        loss = clip_loss(said, targets_of(torch.tensor([[0.0, 1.0]]), [True]), build_clip_loss(options))
        assert loss.dtype == torch.float32
        assert math.isfinite(loss.item())


def test_class_weights_from_a_tensor_and_from_text(tmp_path: Path) -> None:
    torch.save(torch.tensor([1.0, 2.5], dtype=torch.float64), tmp_path / "weights.pth")
    (tmp_path / "weights.txt").write_text("1\n2.5\n\n", encoding="utf-8")
    for name in ("weights.pth", "weights.txt"):
        weights = read_class_weights(tmp_path / name, 2)
        assert weights.tolist() == [1.0, 2.5]
        assert weights.dtype == torch.float32


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1\nmany\n", r"weights.txt, row 2: 'many' is not a number"),
        ("1\n2\n3\n", "3 class weights for 2 classes"),
        ("1\n-2\n", r"weight -2 of class 1 \(from 0\) must be 0 or more"),
        ("nan\n1\n", "weight nan of class 0"),
    ],
)
def test_wrong_class_weights_are_refused(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "weights.txt").write_text(content, encoding="utf-8")
    with pytest.raises(OptionsError, match=sentence):
        read_class_weights(tmp_path / "weights.txt", 2)


def test_files_that_hold_no_class_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="is not there"):
        read_class_weights(tmp_path / "nowhere.pth", 2)
    (tmp_path / "broken.pth").write_bytes(b"no tensor")
    with pytest.raises(OptionsError, match="not a readable tensor"):
        read_class_weights(tmp_path / "broken.pth", 2)
    torch.save({"weights": [1, 2]}, tmp_path / "dict.pth")
    with pytest.raises(OptionsError, match="holds a dict"):
        read_class_weights(tmp_path / "dict.pth", 2)
