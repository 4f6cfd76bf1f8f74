"""Rolling and cropping: what is heard and what is known stay together, or the clip is left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandomResizedCrop as OfTorchvision
from torchvision.transforms.v2 import functional as oracle

from desed_task.augment.random_resized_crop import Box, RandomResizedCrop, RandomResizedCropOptions, _positions
from desed_task.augment.time_roll import TimeRoll, TimeRollOptions
from desed_task.batch import Embedding, Inputs, Targets

FRAMES = 10
PER_FRAME = 4


def clips(num_strong: int, num_weak: int, mel_frames: int = FRAMES * PER_FRAME) -> tuple[Inputs, Targets]:
    """In mel frame t each band holds t, in frame t // 4 the strong target holds t // 4, of strong clips."""
    num_clips = num_strong + num_weak
    time = torch.arange(float(mel_frames)).view(1, -1, 1)
    strong = torch.arange(float(FRAMES)).view(1, -1, 1).expand(num_clips, FRAMES, 3).clone()
    has_strong = torch.arange(num_clips) < num_strong
    strong[~has_strong] = 0
    inputs = Inputs(
        time.expand(num_clips, mel_frames, 6).clone(),
        {"beats": Embedding(time[:, ::8].repeat(num_clips, 1, 2), is_timed=True)},
    )
    return inputs, Targets(strong, torch.ones(num_clips, 3), has_strong, ~has_strong)


def test_tagged_clips_are_rolled_by_any_number_of_mel_frames() -> None:
    inputs, targets = clips(0, 300)
    output, known = TimeRoll(TimeRollOptions(max_frames=10))(inputs, targets, np.random.default_rng(0))
    shifts = -output.mel[:, 0, 0]
    shifts = torch.where(shifts < -20, shifts + 40, shifts)
    assert set(shifts.int().tolist()) == set(range(-10, 11))
    time = torch.arange(40.0)
    torch.testing.assert_close(output.mel, ((time - shifts[:, None]) % 40)[:, :, None].expand(300, 40, 6))
    assert torch.equal(known.weak, targets.weak)


def test_targets_without_frames_stay_without() -> None:
    inputs, targets = clips(0, 3)
    targets = Targets(torch.zeros(3, 0, 3), targets.weak, targets.has_strong, targets.has_weak)
    output, known = TimeRoll(TimeRollOptions())(inputs, targets, np.random.default_rng(0))
    assert output.mel.shape == inputs.mel.shape
    assert known.strong.shape == (3, 0, 3)


def test_strong_labels_move_with_what_is_heard() -> None:
    inputs, targets = clips(200, 100)
    output, known = TimeRoll(TimeRollOptions(max_frames=10))(inputs, targets, np.random.default_rng(0))
    heard = output.mel[:200, ::PER_FRAME, 0] / PER_FRAME
    assert torch.equal(known.strong[:200, :, 0], heard)
    assert len(heard[:, 0].unique()) == 5  # by -2 .. 2 frames of 4 mel frames
    assert torch.equal(known.strong[200:], targets.strong[200:])
    # Embedding frames of 8 mel frames: the nearest
    moved = (output.embeddings["beats"].values[:200, 0, 0] - output.mel[:200, 0, 0]) % 40
    assert set(moved.tolist()) <= {0.0, 4.0, 36.0}


def test_no_shift_changes_nothing() -> None:
    inputs, targets = clips(1, 1, mel_frames=42)
    output, known = TimeRoll(TimeRollOptions(max_frames=0))(inputs, targets, np.random.default_rng(0))
    assert torch.equal(output.mel, inputs.mel)
    assert torch.equal(known.strong, targets.strong)


def test_clips_with_strong_labels_are_not_cropped() -> None:
    inputs, targets = clips(3, 5)
    inputs = Inputs(inputs.mel)
    output, same = RandomResizedCrop(RandomResizedCropOptions())(inputs, targets, np.random.default_rng(0))
    assert same is targets
    assert torch.equal(output.mel[:3], inputs.mel[:3])
    assert (output.mel[3:] != inputs.mel[3:]).flatten(1).any(dim=1).all()


def test_clips_with_embeddings_are_not_cropped() -> None:
    inputs, targets = clips(0, 5)
    output, _ = RandomResizedCrop(RandomResizedCropOptions())(inputs, targets, np.random.default_rng(0))
    assert output is inputs


def test_a_part_is_stretched_between_its_edges() -> None:
    # Frames 2 and 3 of 4, stretched to 4 places: centres at 1/4, 3/4, 5/4, 7/4 of the part
    #   2   2.25   2.75   3      (the outer ones held)
    places = (_positions(np.array([2]), np.array([2]), 4)[0] + 1) * 4 / 2 - 0.5
    assert places.tolist() == [2.0, 2.25, 2.75, 3.0]
    assert ((_positions(np.array([0]), np.array([4]), 4)[0] + 1) * 4 / 2 - 0.5).tolist() == [0, 1, 2, 3]


def test_crops_equal_those_of_torchvision() -> None:
    torch.manual_seed(0)
    inputs = Inputs(torch.rand(20, 101, 96))
    targets = Targets(torch.zeros(20, 25, 2), torch.zeros(20, 2), torch.zeros(20).bool(), torch.ones(20).bool())
    augmentation = RandomResizedCrop(RandomResizedCropOptions())
    output, _ = augmentation(inputs, targets, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    boxes = [augmentation._draw(101, 96, rng) for _ in range(20)]
    assert len({box.frames for box in boxes}) > 10
    for box, heard, clip in zip(boxes, output.mel, inputs.mel, strict=True):
        expected = oracle.resized_crop(
            clip.T[None],  # torchvision's height is the bands, its width the frames
            top=box.first_band,
            left=box.first_frame,
            height=box.bands,
            width=box.frames,
            size=[96, 101],
            interpolation=InterpolationMode.BILINEAR,
            antialias=False,
        )
        torch.testing.assert_close(heard, expected[0].T, atol=1e-4, rtol=0)


def test_parts_are_drawn_as_torchvision_draws_them() -> None:
    """Means over many parts agree, in a picture that is nearly square and in a long one."""
    augmentation = RandomResizedCrop(RandomResizedCropOptions())
    for num_frames, num_bands in ((101, 96), (1024, 128)):
        rng = np.random.default_rng(0)
        mine = np.array([augmentation._draw(num_frames, num_bands, rng) for _ in range(4000)], dtype=float)
        torch.manual_seed(0)
        picture = torch.empty(1, num_bands, num_frames)
        theirs = [OfTorchvision(8).make_params([picture]) for _ in range(4000)]
        expected = np.array([(p["left"], p["width"], p["top"], p["height"]) for p in theirs], dtype=float)
        np.testing.assert_allclose(mine.mean(axis=0), expected.mean(axis=0), rtol=0.05, atol=1.0)
        np.testing.assert_allclose(mine.std(axis=0), expected.std(axis=0), rtol=0.06, atol=0.5)


def test_a_long_spectrogram_falls_back_to_its_middle() -> None:
    whole = RandomResizedCrop(RandomResizedCropOptions(area=(1.0, 1.0)))
    # 1024 x 128 as a whole is never of a ratio up to 4/3: the middle 171 frames (128 * 4/3) are
    assert whole._draw(1024, 128, np.random.default_rng(0)) == Box(426, 171, 0, 128)


def test_no_clip_is_cropped_with_probability_0() -> None:
    inputs, targets = clips(0, 4)
    crop = RandomResizedCrop(RandomResizedCropOptions(probability=0.0))
    torch.testing.assert_close(crop(Inputs(inputs.mel), targets, np.random.default_rng(0))[0].mel, inputs.mel)


def test_areas_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValidationError, match="must rise within 0 and 1"):
        RandomResizedCropOptions(area=(0.5, 0.2))
    with pytest.raises(ValidationError, match="lie above 0"):
        RandomResizedCropOptions(ratio=(0.0, 1.0))
