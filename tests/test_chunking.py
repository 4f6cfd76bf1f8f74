"""Chunks: how many there are, what the last one holds, and how their scores become those of the recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from desed_task.chunking import Chunking, ClipPooling, Tail, fit_exponent
from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

LABELS = LabelSet(["loud", "quiet"])
PUBLISHED = Chunking(FrameGrid(22_050, 220, 1), window_seconds=1.0, hop_seconds=0.5)
# 10 samples a second, 2 per frame: windows of 10 samples and 5 frames
TOY_GRID = FrameGrid(sample_rate=10, hop_length=2, time_pooling=1)


def toy(tail: Tail = "tile", hop_seconds: float = 0.5, clip_scores: ClipPooling = "mean_logit") -> Chunking:
    return Chunking(TOY_GRID, 1.0, hop_seconds, tail, clip_scores=clip_scores)


def ramp(num_samples: int) -> NDArray[np.float32]:
    return np.arange(1, num_samples + 1, dtype=np.float32)


@pytest.mark.parametrize(
    ("num_samples", "num_chunks"), [(1, 1), (22_049, 1), (22_050, 2), (33_075, 3), (44_100, 4), (110_250, 10)]
)
def test_a_recording_has_as_many_chunks_as_were_published(num_samples: int, num_chunks: int) -> None:
    chunks = PUBLISHED.cut(np.ones(num_samples, dtype=np.float32))
    assert chunks.shape == (num_chunks, 22_050)
    assert chunks.dtype == np.float32


def test_the_last_chunk_of_one_second_is_its_second_half_played_twice() -> None:
    waveform = ramp(22_050)
    first, last = PUBLISHED.cut(waveform)
    assert np.array_equal(first, waveform)
    assert np.array_equal(last, np.tile(waveform[11_025:], 2))


def test_a_short_recording_is_repeated_or_padded() -> None:
    assert toy().cut(ramp(3)).tolist() == [[1, 2, 3, 1, 2, 3, 1, 2, 3, 1]]
    padded = Chunking(TOY_GRID, 1.0, 0.5, short="zeros")
    assert padded.cut(ramp(3)).tolist() == [[1, 2, 3, 0, 0, 0, 0, 0, 0, 0]]


# samples   1    6    11    17     a recording of 17 samples, windows of 10, 5 apart
# full      |---------|
# full           |---------|
# left                |------|
@pytest.mark.parametrize(
    ("tail", "last_windows"),
    [
        ("tile", [[11, 12, 13, 14, 15, 16, 17, 11, 12, 13], [16, 17, 16, 17, 16, 17, 16, 17, 16, 17]]),
        ("shift", [[8, 9, 10, 11, 12, 13, 14, 15, 16, 17]]),
        ("drop", []),
        ("zeros", [[11, 12, 13, 14, 15, 16, 17, 0, 0, 0]]),
    ],
)
def test_the_end_of_a_recording_is_heard_as_chosen(tail: Tail, last_windows: list[list[float]]) -> None:
    windows = toy(tail).cut(ramp(17)).tolist()
    assert windows == [ramp(17)[:10].tolist(), ramp(17)[5:15].tolist(), *last_windows]


@pytest.mark.parametrize("tail", ["shift", "drop", "zeros"])
def test_a_recording_of_whole_windows_has_no_tail(tail: Tail) -> None:
    assert toy(tail).cut(ramp(20)).tolist() == [ramp(20)[start : start + 10].tolist() for start in (0, 5, 10)]


@pytest.mark.parametrize("tail", ["shift", "zeros"])
def test_a_few_samples_that_resampling_left_are_not_worth_a_window(tail: Tail) -> None:
    ten_seconds = Chunking(FrameGrid(32_000, 320, 32), 10.0, 5.0, tail)
    assert len(ten_seconds.cut(np.ones(320_016, np.float32))) == 1
    assert len(ten_seconds.cut(np.ones(336_000, np.float32))) == 2


@pytest.mark.parametrize("tail", ["tile", "shift", "drop", "zeros"])
@pytest.mark.parametrize("num_samples", [0, 1])
def test_no_sample_or_a_single_one_is_a_recording(tail: Tail, num_samples: int) -> None:
    chunking = toy(tail)
    windows = chunking.cut(ramp(num_samples))
    assert windows.tolist() == [[float(num_samples)] * 10]
    scores = chunking.stitch(np.full((1, 5, 2), 0.5, np.float32), np.full((1, 2), 0.5, np.float32), LABELS, num_samples)
    assert scores.frame_values is not None
    assert scores.frame_values.shape == (1, 2)
    assert scores.duration == num_samples / 10


def stitched_frames(chunking: Chunking, num_samples: int) -> NDArray[np.float32]:
    """Frames that say which window (hundredths) and which of its frames (thousandths) they are of."""
    num_windows = len(chunking.starts(num_samples))
    said = np.arange(num_windows)[:, None] / 100 + np.arange(chunking.window_frames) / 1000
    frames = np.repeat(said[:, :, None], 2, axis=2).astype(np.float32)
    scores = chunking.stitch(frames, np.zeros((num_windows, 2), np.float32), LABELS, num_samples)
    assert scores.frame_values is not None
    return 10 * scores.frame_values[:, 0]


def test_each_frame_comes_from_the_window_in_which_it_lies_deepest() -> None:
    # samples   0 2 4 6 8 10  14  18        frames of 2 samples; windows of 10, from 0, 4 and 8
    # window 0  0 1 2 3 4                    middle 5: nearest for the centres 1, 3, 5, and 7 (a tie, the earlier)
    # window 1      0 1 2 3 4                middle 9: 9 and 11 (a tie)
    # window 2          0 1 2 3 4            middle 13: the rest
    found = stitched_frames(toy("drop", hop_seconds=0.4), 18)
    assert found.tolist() == pytest.approx([0.00, 0.01, 0.02, 0.03, 0.12, 0.13, 0.22, 0.23, 0.24])


def test_a_hop_that_is_no_whole_frames_reads_the_frame_that_holds_the_moment() -> None:
    # windows from 0, 3 and 6; middles 5, 8, 11; the centre 7 lies 4 samples into window 1, which is its frame 2
    found = stitched_frames(toy("drop", hop_seconds=0.3), 16)
    assert found.tolist() == pytest.approx([0.00, 0.01, 0.02, 0.12, 0.13, 0.22, 0.23, 0.24])


def test_a_tail_that_is_not_heard_has_no_frames() -> None:
    assert len(stitched_frames(toy("drop"), 19)) == 8  # the last window ends at sample 15, in the frame from 14 on
    assert len(stitched_frames(toy("shift"), 19)) == 10


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 10), st.sampled_from(["tile", "shift", "drop", "zeros"]))
def test_frames_agree_with_the_rule_said_frame_by_frame(num_samples: int, hop: int, tail: Tail) -> None:
    chunking = toy(tail, hop_seconds=hop / 10)
    starts = chunking.starts(num_samples)
    expected = []
    for center in range(1, num_samples + 1, 2):
        depth = [min(center - start, start + 10 - center) for start in starts]
        window = int(np.argmax(depth))
        if center - 1 < starts[window] + 10:
            expected.append(window / 10 + min((center - starts[window]) // 2, 5) / 100)
    num_covering = -(-num_samples // 2)
    assert stitched_frames(chunking, num_samples).tolist() == pytest.approx(expected[:num_covering], abs=1e-6)


def test_a_tagger_without_frames_has_none() -> None:
    scores = toy().stitch(None, np.array([[0.2, 0.9], [0.4, 0.5]], np.float32), LABELS, 12)
    assert isinstance(scores, Scores)
    assert scores.frame_values is None
    assert scores.duration == 1.2


def sigmoid(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


@pytest.mark.parametrize(
    ("clip_scores", "expected"),
    [
        ("mean_logit", (1.0, -2.0)),
        ("mean", None),
        ("max", (3.0, -1.0)),
        # weights exp(2 * 3) : exp(2 * -1)   and   exp(2 * -1) : exp(2 * -3)
        ("soft", (3 - 4 / (1 + np.exp(8.0)), -1 - 2 / (1 + np.exp(4.0)))),
    ],
)
def test_clip_scores_are_pooled_as_chosen(clip_scores: ClipPooling, expected: tuple[float, float] | None) -> None:
    logits = np.array([[3.0, -1.0], [-1.0, -3.0]])
    if expected is None:
        means = (sigmoid(3) + sigmoid(-1)) / 2, (sigmoid(-1) + sigmoid(-3)) / 2
        expected = tuple(float(np.log(p / (1 - p))) for p in means)  # type: ignore[assignment]
    chunking = Chunking(TOY_GRID, 1.0, 0.5, clip_scores=clip_scores, exponent=2.0)
    assert chunking.pool(logits).tolist() == pytest.approx(expected)
    probs = np.vectorize(sigmoid)(logits).astype(np.float32)
    scores = chunking.stitch(None, probs, LABELS, 10)
    assert scores.clip_values.tolist() == pytest.approx([sigmoid(logit) for logit in expected or ()], rel=1e-5)
    assert scores.clip_values.dtype == np.float32


def test_small_probabilities_stay_apart() -> None:
    """Well trained taggers say 1e-9 of most classes; their order is part of an average precision."""
    logits = np.array([[-25.0, -30.0], [-27.0, -30.0]])
    probs = np.exp(logits).astype(np.float32)
    clip_values = toy().stitch(None, probs, LABELS, 10).clip_values
    np.testing.assert_allclose(clip_values, [np.exp(-26.0), np.exp(-30.0)], rtol=1e-5)


@pytest.mark.parametrize("clip_scores", ["mean_logit", "mean", "max", "soft"])
def test_certain_windows_are_scores_too(clip_scores: ClipPooling) -> None:
    certain = np.array([[0.0, 1.0]] * 3, dtype=np.float32)
    scores = toy(clip_scores=clip_scores).stitch(None, certain, LABELS, 20)
    assert scores.clip_values.tolist() == pytest.approx([0.0, 1.0], abs=1e-6)
    assert np.isfinite(toy(clip_scores=clip_scores).pool(np.array([[1e4, -1e4]], np.float32))).all()


def test_logits_keep_their_type() -> None:
    assert toy().pool(np.zeros((2, 3), np.float32)).dtype == np.float32
    assert toy().pool(np.zeros((2, 3))).dtype == np.float64


def test_the_exponent_that_made_the_targets_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 3, (int(rng.integers(1, 9)), 4)) for _ in range(200)]
    made = Chunking(TOY_GRID, 1.0, 0.5, clip_scores="soft", exponent=1.37)
    targets = np.stack([1 / (1 + np.exp(-made.pool(windows))) for windows in logits]).astype(np.float32)
    assert fit_exponent(logits, targets) == pytest.approx(1.37, abs=0.011)
    one_loud_window_counts = np.stack([windows.max(axis=0) > 0 for windows in logits]).astype(np.float32)
    assert fit_exponent(logits, one_loud_window_counts) > 1.5


@pytest.mark.parametrize(
    ("window_seconds", "hop_seconds", "message"),
    [(1.0, 1.5, "do not meet"), (1.0, 0.01, "do not meet"), (0.01, 0.01, "holds no sample")],
)
def test_windows_that_do_not_meet_are_refused(window_seconds: float, hop_seconds: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Chunking(TOY_GRID, window_seconds, hop_seconds)
