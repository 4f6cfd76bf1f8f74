"""Windows: a recording cut, heard in pieces and stitched is the recording heard at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from desed_task.labels import LabelSet
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid
from desed_task.windowing import Windowing

LABELS = LabelSet(["loud", "quiet"])
# 4 samples per frame, windows of 10 frames and a sample, of which neighbours share 4 frames
TOY_GRID = FrameGrid(sample_rate=4, hop_length=2, time_pooling=2)
TOY = Windowing(TOY_GRID, window_seconds=10.25, overlap_frames=4)
DESED = Windowing(FrameGrid(16_000, 256, 4), window_seconds=10.0, overlap_frames=16)


def frame_means(waveform: np.ndarray, frame_samples: int, num_frames: int) -> np.ndarray:
    """A model that hears each frame alone: (frames, 2)."""
    padded = np.zeros(num_frames * frame_samples, dtype=np.float32)
    padded[: min(len(waveform), len(padded))] = waveform[: len(padded)]
    loud = padded.reshape(num_frames, frame_samples).mean(axis=1)
    return np.stack((loud, 1 - loud), axis=1).astype(np.float32)


def stitched(windowing: Windowing, waveform: np.ndarray) -> Scores:
    windows = windowing.cut(waveform)
    frames = np.stack([frame_means(w, windowing.grid.frame_samples, windowing.window_frames) for w in windows])
    return windowing.stitch(frames, frames.max(axis=1), LABELS, len(waveform))


def test_the_window_of_the_baselines() -> None:
    assert (DESED.window_samples, DESED.window_frames, DESED.hop_frames) == (160_000, 156, 140)


@pytest.mark.parametrize(
    ("num_samples", "num_windows"),
    [
        (1, 1),
        (16_000, 1),
        (160_000, 1),
        (160_000 + 16, 1),  # what resampling may add
        (160_000 + 1_023, 1),
        (160_000 + 1_024, 2),
        (160_000 + 140 * 1_024, 2),
        (160_000 + 140 * 1_024 + 1, 3),
        (600 * 16_000, 67),
    ],
)
def test_a_recording_is_cut_into_as_few_windows_as_cover_it(num_samples: int, num_windows: int) -> None:
    windows = DESED.cut(np.ones(num_samples, dtype=np.float32))
    assert windows.shape == (num_windows, 160_000)
    assert windows.dtype == np.float32


# samples   0    24   41 48   65 68   89     windows of 41 samples, 24 apart
# window 0  |---------|
# window 1       |-----------|
# window 2              |------zeros--|
def test_windows_start_whole_frames_apart_and_the_last_is_padded() -> None:
    waveform = np.arange(1, 69, dtype=np.float32)
    windows = TOY.cut(waveform)
    assert windows[:, 0].tolist() == [1, 25, 49]
    assert windows[1].tolist() == waveform[24:65].tolist()
    assert windows[2].tolist() == [*waveform[48:], *[0] * 21]


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 400), st.integers(0, 9), st.sampled_from([10.0, 10.25, 13.0]))
def test_a_model_that_hears_each_frame_alone_cannot_tell_windows_from_the_whole(
    num_samples: int, overlap_frames: int, window_seconds: float
) -> None:
    windowing = Windowing(TOY_GRID, window_seconds, overlap_frames)
    waveform = np.random.default_rng(num_samples).random(num_samples).astype(np.float32)
    scores = stitched(windowing, waveform)
    assert scores.frame_values is not None
    num_frames = len(scores.frame_values)
    assert np.array_equal(scores.frame_values, frame_means(waveform, 4, num_frames))
    covering = TOY_GRID.frames_covering(num_samples / 4)
    if len(windowing.cut(waveform)) > 1:
        assert num_frames >= covering - 1  # the centred STFT of the last window may leave less than a frame
    assert 1 <= num_frames <= covering
    assert scores.duration == num_samples / 4


def test_each_frame_comes_once_and_from_the_window_in_which_it_lies_deeper() -> None:
    # frames    0    .    6  8 10   12  14 16        window 0: 0-10, window 1: 6-16, window 2: 12-22
    # window    0    .    0  1  1   1   2 2          4 shared frames: two from each side
    num_samples = TOY.window_samples + 2 * 24
    frames = np.zeros((3, 10, 2), dtype=np.float32)
    frames[:, :, 0] = np.array([0.1, 0.2, 0.3], dtype=np.float32)[:, None]
    scores = TOY.stitch(frames, np.zeros((3, 2), np.float32), LABELS, num_samples)
    assert scores.frame_values is not None
    assert scores.frame_values[:, 0].tolist() == pytest.approx([0.1] * 8 + [0.2] * 6 + [0.3] * 8)


def test_a_short_recording_has_no_frames_of_its_padding() -> None:
    scores = stitched(DESED, np.ones(16_000 * 3, dtype=np.float32))
    assert scores.frame_values is not None
    assert len(scores.frame_values) == 47  # 3 s / 64 ms = 46.875
    assert scores.duration == 3.0


def test_ten_seconds_keep_the_156_frames_of_the_baselines() -> None:
    scores = stitched(DESED, np.ones(160_000, dtype=np.float32))
    assert scores.frame_values is not None
    assert len(scores.frame_values) == 156


def test_a_class_is_in_the_recording_as_much_as_in_the_window_where_it_is_most() -> None:
    clip_values = np.array([[0.2, 0.9], [0.7, 0.1]], dtype=np.float32)
    scores = TOY.stitch(np.zeros((2, 10, 2), np.float32), clip_values, LABELS, 66)
    assert scores.clip_values.tolist() == pytest.approx([0.7, 0.9])


@pytest.mark.parametrize("overlap_frames", [-1, 10, 11])
def test_an_overlap_that_does_not_fit_the_window_is_refused(overlap_frames: int) -> None:
    with pytest.raises(ValueError, match="does not fit 10 per window"):
        Windowing(TOY_GRID, 10.25, overlap_frames)
