"""Batches of tagged clips: what is heard, what is mixed, and that a batch depends on its moment alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from desed_task.clips import Clip, ClipSet
from desed_task.data.dataset import BatchDataset
from desed_task.data.mapped import MappedExcerpts
from desed_task.data.resident import ResidentExcerpts
from desed_task.data.source import Moment, Share
from desed_task.data.tagged_source import Background, TaggedSource
from desed_task.data.tagging_options import TaggingSource
from desed_task.errors import CorpusError, OptionsError
from desed_task.formats.clip_scores import clip_scores_of, write_clip_scores
from desed_task.labels import LabelSet
from desed_task.options import check_options

RATE, WINDOW = 1000, 100
LABELS = LabelSet(["Cat", "Dog", "Speech"])
# clips   0: Cat, half a window   1: Dog, a window   2: Speech and Dog, two windows and a half
LENGTHS = [50, 100, 250]
TAGS = {"clip0": ("Cat",), "clip1": ("Dog",), "clip2": ("Speech", "Dog")}
WEAK = {"clip0": [1, 0, 0], "clip1": [0, 1, 0], "clip2": [0, 1, 1]}


class Noisy:
    """A store of random samples, clip n of LENGTHS[n]."""

    def __init__(self, lengths: list[int] = LENGTHS, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self.lengths = np.array(lengths)
        self.audio_ids = tuple(f"clip{number}" for number in range(len(lengths)))
        self.clips = [rng.integers(-3000, 4000, length).astype(np.int16) for length in lengths]

    def __len__(self) -> int:
        return len(self.lengths)

    def samples(self, clip: int, first_sample: int, num_samples: int) -> NDArray[np.int16]:
        return self.clips[clip][first_sample : first_sample + num_samples]

    def heard(self, clip: int, first: int = 0) -> NDArray[np.float64]:
        return self.clips[clip][first : first + WINDOW] / 32768


STORE = Noisy()


def clip_set(lengths: list[int] = LENGTHS, tags: Mapping[str, tuple[str, ...]] = TAGS) -> ClipSet:
    clips = tuple(Clip(f"clip{number}", Path(f"clip{number}.wav"), 0.0) for number in range(len(lengths)))
    return ClipSet("toy", clips, "weak", tags=tags)


def options(**keys: Any) -> TaggingSource:
    return check_options({"corpus": {"name": "folder", "root": "x"}, "batch_size": 3} | keys, TaggingSource)


def source(**keys: Any) -> TaggedSource:
    return TaggedSource(clip_set(), STORE, options(**keys), LABELS, RATE, WINDOW)


def dataset(made: TaggedSource, seed: int = 7, share: Share = Share()) -> BatchDataset:  # noqa: B008
    return BatchDataset([made], WINDOW, 1, len(LABELS), seed, share)


def rows_by_clip(made: TaggedSource, epoch: int = 0) -> dict[str, tuple[NDArray[Any], list[float]]]:
    """audio_id -> (waveform, weak targets) of one batch."""
    batch = dataset(made)[epoch, 0]
    assert batch.targets.has_weak.all()
    return {
        audio_id: (batch.waveform[row].numpy(), batch.targets.weak[row].tolist())
        for row, audio_id in enumerate(batch.audio_ids)
    }


def test_a_batch_is_whole_clips_with_their_tags() -> None:
    rows = rows_by_clip(source(longer="beginning"))
    assert {name: weak for name, (_, weak) in rows.items()} == WEAK
    np.testing.assert_array_equal(rows["clip0"][0], np.pad(STORE.heard(0), (0, 50)).astype(np.float32))
    np.testing.assert_array_equal(rows["clip1"][0], STORE.heard(1).astype(np.float32))
    np.testing.assert_array_equal(rows["clip2"][0], STORE.heard(2).astype(np.float32))


def test_a_longer_clip_is_heard_by_a_random_excerpt_and_a_shorter_one_may_be_repeated() -> None:
    every = {tuple(rows_by_clip(source(), epoch)["clip2"][0][:3].tolist()) for epoch in range(12)}
    possible = {tuple(STORE.heard(2, first)[:3].astype(np.float32).tolist()) for first in range(151)}
    assert len(every) > 6
    assert every <= possible
    repeated = rows_by_clip(source(shorter="tile"))["clip0"][0]
    np.testing.assert_array_equal(repeated, np.tile(STORE.heard(0), 2).astype(np.float32))


def test_a_mean_is_that_of_what_is_heard_and_zeros_stay_zeros() -> None:
    heard = rows_by_clip(source(remove_mean=True))["clip0"][0]
    np.testing.assert_allclose(heard[:50], STORE.heard(0) - STORE.heard(0).mean(), atol=1e-7)
    assert not heard[50:].any()


def test_chunks_bear_the_labels_of_their_clip_and_a_tail_is_repeated() -> None:
    made = source(chunks={"hop_seconds": 0.05, "tail": "tile"}, batch_size=8)
    # clip 0: 1 chunk; clip 1: 2; clip 2: starts 0, 50, 100, 150, 200: 5
    assert made.num_batches == 1
    batch = dataset(made)[0, 0]
    assert Counter(batch.audio_ids) == {"clip0": 1, "clip1": 2, "clip2": 5}
    for audio_id, weak in zip(batch.audio_ids, batch.targets.weak.tolist(), strict=True):
        assert weak == WEAK[audio_id]
    chunks = {tuple(row.tolist()) for row in batch.waveform.numpy()}
    expected = [np.tile(STORE.heard(0), 2), STORE.heard(1), np.tile(STORE.heard(1, 50), 2)]
    expected += [STORE.heard(2, first) for first in (0, 50, 100, 150)] + [np.tile(STORE.heard(2, 200), 2)]
    assert chunks == {tuple(chunk.astype(np.float32).tolist()) for chunk in expected}


def test_chunks_are_shuffled_over_all_clips() -> None:
    made = source(chunks={"hop_seconds": 0.05, "tail": "shift"}, batch_size=5)
    orders = {dataset(made)[epoch, 0].audio_ids for epoch in range(6)}
    assert len(orders) > 1


def test_mixup_is_what_a_pencil_says() -> None:
    made = source(longer="beginning", waveform_mixup={"probability": 1.0, "alpha": 10.0})
    batch = dataset(made)[0, 0]
    draw = made.draw(Moment(7, 0, 0, 0), np.random.default_rng(0), range(3))
    heard = draw.clips
    lengths = dict(enumerate(LENGTHS))
    for row in range(3):
        clip, partner, share = heard.sounds.clips[row], heard.partners.clips[row], heard.shares[row]
        own, other = STORE.heard(clip), STORE.heard(partner)
        n = min(lengths[clip], WINDOW)
        own, other = own - own.mean(), other - other.mean()
        other = np.pad(other, (0, WINDOW))[:n]  # zeros beyond a shorter partner, a longer one is cut
        mixed = share * own + (1 - share) * other
        expected = np.pad(mixed - mixed.mean(), (0, WINDOW - n))
        np.testing.assert_allclose(batch.waveform[row].numpy(), expected, atol=2e-7)
        weak = share * np.array(WEAK[f"clip{clip}"]) + (1 - share) * np.array(WEAK[f"clip{partner}"])
        np.testing.assert_allclose(batch.targets.weak[row].numpy(), weak, atol=1e-6)
    assert 0.1 < heard.shares.min() < heard.shares.max() < 0.9


def test_as_many_clips_are_mixed_as_asked_and_partners_are_any_clip() -> None:
    lengths = [WINDOW] * 40
    store = Noisy(lengths)
    made = TaggedSource(
        clip_set(lengths, {f"clip{n}": ("Cat",) for n in range(40)}),
        store,
        options(batch_size=40, waveform_mixup={"probability": 0.25, "alpha": 0.3, "larger": True}),
        LABELS,
        RATE,
        WINDOW,
    )
    draws = [made.draw(Moment(7, epoch, 0, 0), np.random.default_rng(0), range(40)).clips for epoch in range(50)]
    shares = np.concatenate([draw.shares for draw in draws])
    partners = np.concatenate([draw.partners.clips[draw.shares < 1] for draw in draws])
    assert (shares < 1).mean() == pytest.approx(0.25, abs=0.04)
    assert shares.min() >= 0.5
    assert len(set(partners.tolist())) == 40


def test_a_weighted_partner_is_drawn_as_clips_are(tmp_path: Path) -> None:
    (tmp_path / "w.csv").write_text("0\n1\n3\n")
    sampling = {"name": "weighted", "weights": str(tmp_path / "w.csv")}
    made = source(sampling=sampling, waveform_mixup={"probability": 1.0, "partner": "weighted"})
    draws = [made.draw(Moment(7, epoch, 0, 0), np.random.default_rng(0), range(3)).clips for epoch in range(800)]
    partners = np.bincount(np.concatenate([draw.partners.clips for draw in draws]), minlength=3)
    assert partners[0] == 0
    assert partners[2] / partners.sum() == pytest.approx(0.75, abs=0.04)
    with pytest.raises(OptionsError, match=r"waveform_mixup\.partner weighted needs `sampling: \{name: weighted\}`"):
        options(waveform_mixup={"partner": "weighted"})


def test_balanced_sampling_hears_rare_classes_as_often() -> None:
    lengths = [WINDOW] * 100
    tags = {f"clip{n}": ("Dog",) if n < 90 else ("Cat",) for n in range(100)}
    chosen = options(batch_size=100, sampling={"name": "weighted"})
    made = TaggedSource(clip_set(lengths, tags), Noisy(lengths), chosen, LABELS, RATE, WINDOW)
    heard = Counter(label for epoch in range(30) for clip in dataset(made)[epoch, 0].audio_ids for label in tags[clip])
    assert heard["Cat"] / 3000 == pytest.approx(0.5, abs=0.03)


def test_the_weight_of_a_clip_is_shared_out_to_its_chunks() -> None:
    chunks = {"hop_seconds": 0.05, "tail": "tile"}
    made = source(sampling={"name": "weighted", "epoch_clips": 3000}, chunks=chunks, batch_size=3000)
    heard = Counter(dataset(made)[0, 0].audio_ids)
    # Cat 1 clip, Dog 2, Speech 1: weights 1, 1/2, 1/2 + 1
    assert heard["clip0"] / 3000 == pytest.approx(1 / 3, abs=0.03)
    assert heard["clip1"] / 3000 == pytest.approx(1 / 6, abs=0.03)


def test_round_robin_hears_every_class_in_each_round() -> None:
    made = source(sampling={"name": "class_round_robin", "epoch_clips": 30}, batch_size=3)
    assert made.num_batches == 10
    for step in range(10):
        assert dataset(made)[0, step].targets.weak.sum(dim=0).min() >= 1


def test_a_gain_is_within_its_range_in_decibels() -> None:
    made = source(longer="beginning", gain_db=[-6.0, 6.0])
    gains = []
    for epoch in range(20):
        for name, (row, _) in rows_by_clip(made, epoch).items():
            own = STORE.heard(int(name[-1]))
            gains.append(20 * np.log10(np.abs(row[: len(own)]).max() / np.abs(own).max()))
    assert -6 <= min(gains) < -4
    assert 4 < max(gains) <= 6.0001


# Noise of constant power, so that any excerpt of it has the power of the whole.
SIGNS = Noisy([37, 1000])
SIGNS.clips = [np.where(clip > 500, 1000, -1000).astype(np.int16) for clip in SIGNS.clips]


def test_noise_lies_below_a_clip_by_the_drawn_ratio() -> None:
    background = Background(SIGNS, MappedExcerpts(SIGNS))
    keys = {"root": "noise", "probability": 1.0, "snr_db": [10.0, 20.0]}
    chosen = options(longer="beginning", background=keys)
    made = TaggedSource(clip_set(), STORE, chosen, LABELS, RATE, WINDOW, background=background)
    ratios = []
    for epoch in range(20):
        for name, (row, weak) in rows_by_clip(made, epoch).items():
            own = STORE.heard(int(name[-1]))
            noise = row[: len(own)] - own
            assert weak == WEAK[name]
            assert not row[len(own) :].any()
            np.testing.assert_allclose(np.abs(noise), np.abs(noise[0]), rtol=1e-4)
            ratios.append(10 * np.log10((own**2).mean() / (noise**2).mean()))
    assert 10 <= min(ratios) < 12
    assert 18 < max(ratios) <= 20.001


def test_silence_stays_silent_under_noise_and_silent_noise_changes_nothing() -> None:
    silent = Noisy([50, 100, 250])
    silent.clips = [np.zeros_like(clip) for clip in silent.clips]
    keys = {"root": "noise", "probability": 1.0, "snr_db": [0.0, 0.0]}
    noise = Background(SIGNS, MappedExcerpts(SIGNS))
    made = TaggedSource(clip_set(), silent, options(background=keys), LABELS, RATE, WINDOW, background=noise)
    assert all(not row.any() for row, _ in rows_by_clip(made).values())
    chosen, noise = options(longer="beginning", background=keys), Background(silent, MappedExcerpts(silent))
    made = TaggedSource(clip_set(), STORE, chosen, LABELS, RATE, WINDOW, background=noise)
    np.testing.assert_array_equal(rows_by_clip(made)["clip1"][0], STORE.heard(1).astype(np.float32))


def test_a_teacher_is_blended_into_the_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # in another order of classes, and without clip 2
    scores = {"clip1": np.array([0.5, 0.25, 0.125], "f4"), "clip0": np.array([0.0, 1.0, 0.5], "f4")}
    write_clip_scores(clip_scores_of(scores, LabelSet(["Speech", "Cat", "Dog"])), tmp_path / "teacher.npz")
    made = source(teacher={"scores": str(tmp_path / "teacher.npz"), "label_weight": 0.1})
    weak = {name: values for name, (_, values) in rows_by_clip(made).items()}
    np.testing.assert_allclose(weak["clip0"], [0.1 + 0.9 * 1.0, 0.9 * 0.5, 0.0], atol=1e-6)
    np.testing.assert_allclose(weak["clip1"], [0.9 * 0.25, 0.1 + 0.9 * 0.125, 0.9 * 0.5], atol=1e-6)
    assert weak["clip2"] == WEAK["clip2"]
    assert "1 of 3 clips have no teacher and keep their labels" in caplog.text


def test_a_teacher_of_other_clips_or_classes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "teacher.npz"
    write_clip_scores(clip_scores_of({"other": np.zeros(3, "f4")}, LABELS), path)
    with pytest.raises(CorpusError, match="has scores of none of the 3 clips of toy, such as clip0"):
        source(teacher={"scores": str(path)})
    write_clip_scores(clip_scores_of({"clip0": np.zeros(1, "f4")}, LabelSet(["Cat"])), path)
    with pytest.raises(Exception, match=r"teacher\.npz: no scores of class 'Dog'"):
        source(teacher={"scores": str(path)})


EVERYTHING: dict[str, Any] = {
    "sampling": {"name": "weighted", "epoch_clips": 24},
    "batch_size": 4,
    "shorter": "tile",
    "remove_mean": True,
    "gain_db": [-12.0, 11.0],
    "waveform_mixup": {"probability": 0.5, "alpha": 2.0, "larger": True},
    "background": {"root": "noise", "probability": 0.5, "snr_db": [0.0, 30.0]},
}


def everything(resident: bool = False, **more: Any) -> TaggedSource:
    def excerpts(store: Any) -> Any:
        return ResidentExcerpts(store, torch.device("cpu")) if resident else MappedExcerpts(store)

    background = Background(SIGNS, excerpts(SIGNS))
    chosen = options(**(EVERYTHING | more))
    return TaggedSource(clip_set(), STORE, chosen, LABELS, RATE, WINDOW, excerpts(STORE), background)


def test_a_moment_gives_the_same_batch_whatever_was_made_before() -> None:
    straight = dataset(everything())
    batches = [straight[epoch, step] for epoch in range(2) for step in range(6)]
    alone = dataset(everything())[1, 3]
    assert alone.audio_ids == batches[9].audio_ids
    assert torch.equal(alone.waveform, batches[9].waveform)
    assert torch.equal(alone.targets.weak, batches[9].targets.weak)
    assert not torch.equal(batches[3].waveform, batches[9].waveform)
    other_seed = dataset(everything(), seed=8)[1, 3]
    assert not torch.equal(alone.waveform, other_seed.waveform)


def test_ranks_share_the_batch_of_one() -> None:
    whole = dataset(everything())[0, 2]
    parts = [dataset(everything(), share=Share(rank, 2))[0, 2] for rank in range(2)]
    assert torch.equal(torch.cat([part.waveform for part in parts]), whole.waveform)
    assert torch.equal(torch.cat([part.targets.weak for part in parts]), whole.targets.weak)
    assert parts[0].audio_ids + parts[1].audio_ids == whole.audio_ids


def test_resident_clips_make_the_batches_of_mapped_ones() -> None:
    for step in range(6):
        mapped, resident = dataset(everything())[0, step], dataset(everything(resident=True))[0, step]
        assert torch.equal(mapped.waveform, resident.waveform)
        assert torch.equal(mapped.targets.weak, resident.targets.weak)


def test_what_decides_batches_is_described_and_where_it_lies_is_not() -> None:
    def fingerprint(**more: Any) -> str:
        return dataset(everything(batch_size=3, **more)).fingerprint

    assert fingerprint(background=EVERYTHING["background"] | {"root": "elsewhere"}) == fingerprint()
    changes = ({"shorter": "zeros"}, {"gain_db": None}, {"sampling": {"name": "shuffled"}}, {"longer": "beginning"})
    assert len({fingerprint(**change) for change in ({}, *changes)}) == 5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(CorpusError, match="toy: an epoch of 3 clips or chunks is fewer than its share of 4 per batch"):
        source(batch_size=4)
    strong = ClipSet("toy", clip_set().clips, "strong")
    with pytest.raises(CorpusError, match="toy: a tagger learns from weak labels, this set's are strong"):
        TaggedSource(strong, STORE, options(), LABELS, RATE, WINDOW)
    with pytest.raises(CorpusError, match="no clip has a class"):
        TaggedSource(clip_set(tags={}), STORE, options(sampling={"name": "weighted"}), LABELS, RATE, WINDOW)
    with pytest.raises(OptionsError, match="gain_db 3, -3: the first must not be the larger"):
        options(gain_db=[3.0, -3.0])
    with pytest.raises(OptionsError, match="snr_db 30, 10: the first must not be the larger"):
        options(background={"root": "x", "snr_db": [30.0, 10.0]})
