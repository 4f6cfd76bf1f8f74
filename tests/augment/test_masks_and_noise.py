"""Masks, noise and backgrounds: where they lie, what is heard there, and that labels stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from pydantic import ValidationError

from desed_task.augment.background_mix import BackgroundMix, BackgroundMixOptions
from desed_task.augment.feature_noise import FeatureNoise, FeatureNoiseOptions
from desed_task.augment.spec_augment import Runs, SpecAugment, SpecAugmentOptions, draw_masks
from desed_task.batch import Embedding, Inputs, Targets
from desed_task.errors import AudioError

CLIPS, FRAMES, BANDS = 64, 40, 16
FSD50K = SpecAugmentOptions(
    domain="normalised",
    probability=0.5,
    num_masks=(1, 2),
    unit="shares",
    max_bands=0.15,
    max_frames=0.2,
    fill="minimum",
)


@pytest.fixture
def inputs() -> Inputs:
    """Values from 1 to 2, no two alike."""
    values = 1 + torch.randperm(CLIPS * FRAMES * BANDS, generator=torch.Generator().manual_seed(0)) / 50_000
    return Inputs(values.view(CLIPS, FRAMES, BANDS), {"beats": Embedding(torch.ones(CLIPS, 3, 2), is_timed=True)})


@pytest.fixture
def targets() -> Targets:
    known = torch.ones(CLIPS, dtype=torch.bool)
    return Targets(torch.ones(CLIPS, 10, 3), torch.ones(CLIPS, 3), known, ~known)


def one_run(masked: torch.Tensor) -> list[int]:
    """The places that are masked along one axis, which must be neighbours."""
    places: list[int] = torch.nonzero(masked).flatten().tolist()
    assert not places or places == list(range(places[0], places[-1] + 1))
    return places


def test_runs_cover_their_places_and_no_others() -> None:
    runs = Runs(first=np.array([[1, 4], [0, 2]]), width=np.array([[2, 1], [0, 2]]))
    # places       0 1 2 3 4 5
    # clip 0         = =   =
    # clip 1           = =
    assert runs.cover(6).astype(int).tolist() == [[0, 1, 1, 0, 1, 0], [0, 0, 1, 1, 0, 0]]
    # seen from place 1 in clip 0, from place 3 in clip 1
    assert runs.cover(3, np.array([1, 3])).astype(int).tolist() == [[1, 1, 0], [1, 0, 0]]


def test_psla_masks_one_run_of_bands_and_one_of_frames_with_zero(inputs: Inputs, targets: Targets) -> None:
    augmentation = SpecAugment(SpecAugmentOptions(max_bands=8, max_frames=20))
    output, same = augmentation(inputs, targets, np.random.default_rng(0))
    assert augmentation.domain == "log"
    assert same is targets
    widths, middles = [], [round((frame + 0.5) * FRAMES / 3 - 0.5) for frame in range(3)]
    for heard, original, embedded in zip(output.mel, inputs.mel, output.embeddings["beats"].values, strict=True):
        in_time = (heard == 0).all(dim=1)
        assert (embedded == 0).all(dim=1).tolist() == in_time[middles].tolist()  # silent where nothing is heard
        frames, bands = one_run((heard == 0).all(dim=1)), one_run((heard == 0).all(dim=0))
        hidden = torch.zeros(FRAMES, BANDS, dtype=torch.bool)
        hidden[frames], hidden[:, bands] = True, True
        assert torch.equal(heard, torch.where(hidden, 0.0, original))
        widths.append((len(frames), len(bands)))
    frames_masked, bands_masked = np.array(widths).T
    # Evenly drawn below 20 and below 8, and cut to whole numbers
    assert set(bands_masked) == set(range(8))
    assert frames_masked.max() < 20
    assert frames_masked.mean() == pytest.approx(9.5, abs=2)


def test_fsd50k_masks_half_of_the_clips_with_their_minimum(inputs: Inputs, targets: Targets) -> None:
    output, _ = SpecAugment(FSD50K)(inputs, targets, np.random.default_rng(1))
    changed = (output.mel != inputs.mel).flatten(1).any(dim=1)
    assert int(changed.sum()) == pytest.approx(CLIPS / 2, abs=12)
    for heard, original in zip(output.mel[changed], inputs.mel[changed], strict=True):
        assert set((heard[heard != original]).tolist()) == {float(original.min())}
        lowest = heard == original.min()
        # Two masks at most, below .2 * 40 = 8 frames and .15 * 16 = 2.4 bands each
        assert int(lowest.all(dim=1).sum()) <= 14
        assert int(lowest.all(dim=0).sum()) <= 4


def test_a_mask_filled_with_the_mean(inputs: Inputs, targets: Targets) -> None:
    options = SpecAugmentOptions(num_masks=(2, 2), max_bands=4, max_frames=8, fill="mean")
    output, _ = SpecAugment(options)(inputs, targets, np.random.default_rng(2))
    for heard, original in zip(output.mel, inputs.mel, strict=True):
        values = heard[heard != original]
        torch.testing.assert_close(values, torch.full_like(values, float(original.mean())))


def test_every_place_is_as_likely_to_be_masked_but_for_the_edges() -> None:
    options = SpecAugmentOptions(max_bands=3.0, max_frames=0)
    _, bands = draw_masks(options, np.full(20_000, FRAMES), 4, np.random.default_rng(0))
    # Widths 0, 1, 2 of 4 bands: a run of 1 has 4 places, one of 2 has 3. Masked are the bands
    #   0 and 3: 1/3 (1/4 + 1/3), 1 and 2: 1/3 (1/4 + 2/3)
    expected = [7 / 36, 11 / 36, 11 / 36, 7 / 36]
    np.testing.assert_allclose(bands.cover(4).mean(axis=0), expected, atol=0.01)


def test_masks_wider_than_the_clip_are_cut_to_it(inputs: Inputs, targets: Targets) -> None:
    output, _ = SpecAugment(SpecAugmentOptions())(inputs, targets, np.random.default_rng(0))
    assert output.mel.shape == inputs.mel.shape


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"num_masks": (0, 1)}, "not a fewest"), ({"unit": "shares", "max_bands": 48}, "write unit: bins")],
)
def test_masks_that_cannot_be_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        SpecAugmentOptions(**options)


def test_noise_is_even_and_of_one_loudness_per_clip(inputs: Inputs, targets: Targets) -> None:
    output, same = FeatureNoise(FeatureNoiseOptions(max_amplitude=0.1))(inputs, targets, np.random.default_rng(0))
    assert same is targets
    added = (output.mel - inputs.mel).flatten(1)
    assert added.min() >= -1e-6
    loudness = added.amax(dim=1)
    assert loudness.max() < 0.1
    # The mean of an even noise is half of its largest value; loudness is even over [0, .1).
    torch.testing.assert_close(added.mean(dim=1), loudness / 2, atol=3e-3, rtol=0)
    assert float(loudness.mean()) == pytest.approx(0.05, abs=0.01)


@pytest.fixture
def noise_folder(tmp_path: Path) -> Path:
    """Two recordings; what is heard of them is made up by `hear`."""
    (tmp_path / "deeper").mkdir()
    for name in ("a.wav", "deeper/b.wav"):
        soundfile.write(tmp_path / name, np.zeros(160), 16000)
    return tmp_path


def hear(path: Path) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Frame t of a: 1000 + t, 100 frames; of b: 5000 + t, 7 frames; all bands alike."""
    first, length = (1000, 100) if path.stem == "a" else (5000, 7)
    return np.tile(np.arange(first, first + length, dtype=np.float32)[:, None], (1, BANDS))


def silent(inputs: Inputs) -> Inputs:
    return Inputs(torch.zeros_like(inputs.mel))


def test_the_background_is_one_part_of_a_recording_faded_in(
    noise_folder: Path, inputs: Inputs, targets: Targets
) -> None:
    augmentation = BackgroundMix(BackgroundMixOptions(folder=noise_folder, probability=1.0), hear)
    noise = augmentation._draw(CLIPS, FRAMES, BANDS, np.random.default_rng(0))
    of_a, of_b = noise[noise[:, 0, 0] < 5000], noise[noise[:, 0, 0] >= 5000]
    assert min(len(of_a), len(of_b)) > 10
    # 40 of 100 frames from anywhere; 7 frames again and again
    np.testing.assert_array_equal(of_a, of_a[:, :1] + np.arange(FRAMES)[:, None])
    assert of_a[:, 0, 0].min() < 1010 and of_a[:, 0, 0].max() > 1050
    np.testing.assert_array_equal(of_b[0, :, 0], 5000 + np.arange(FRAMES) % 7)
    # x <- (1 - a) x + a noise: with x = 0 the mix is a times the noise, with x = noise it is the noise
    mixed, same = augmentation(silent(inputs), targets, np.random.default_rng(0))
    assert same is targets
    ratio = mixed.mel / torch.from_numpy(augmentation._draw(CLIPS, FRAMES, BANDS, _after_shares()))
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio))
    assert 0 < ratio.min() < 0.1 and 0.4 < ratio.max() < 0.5


def _after_shares() -> np.random.Generator:
    rng = np.random.default_rng(0)
    rng.uniform(0, 0.5, CLIPS)
    rng.random(CLIPS)
    return rng


def test_clips_get_noise_with_the_probability(noise_folder: Path, inputs: Inputs, targets: Targets) -> None:
    augmentation = BackgroundMix(BackgroundMixOptions(folder=noise_folder, probability=0.75), hear)
    mixed, _ = augmentation(inputs, targets, np.random.default_rng(0))
    untouched = (mixed.mel == inputs.mel).flatten(1).all(dim=1)
    assert int(untouched.sum()) == pytest.approx(CLIPS / 4, abs=9)


def test_masks_of_the_background_lie_on_the_whole_recording(noise_folder: Path) -> None:
    masks = SpecAugmentOptions(unit="shares", max_bands=0.0, max_frames=1.0, fill="minimum")
    options = BackgroundMixOptions(folder=noise_folder, spec_augment=masks)
    noise = BackgroundMix(options, hear)._draw(500, FRAMES, BANDS, np.random.default_rng(0))
    # Hidden frames of a part of `a` hold the minimum of the recording, which is not that of the part.
    of_a = noise[(noise < 5000).all(axis=(1, 2))][:, 1:, 0]  # without frame 0, which is the minimum itself
    hidden = of_a == 1000
    assert (np.abs(np.diff(hidden.astype(int), axis=1)).sum(axis=1) <= 2).all()
    # A mask of up to 100 frames hides some parts of 40 frames altogether.
    assert 0.02 < hidden.all(axis=1).mean() < 0.5
    assert (~hidden).all(axis=1).mean() > 0.02


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no recordings"):
        BackgroundMix(BackgroundMixOptions(folder=tmp_path / "nowhere"), hear)
