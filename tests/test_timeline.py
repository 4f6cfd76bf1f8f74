"""FrameGrid: seconds and frames, checked on the grid of the DESED baselines (16 kHz, hop 256, pooling 4: 64 ms)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desed_task.timeline import FrameGrid

DESED = FrameGrid(sample_rate=16_000, hop_length=256, time_pooling=4)
GRIDS = st.builds(
    FrameGrid,
    sample_rate=st.sampled_from([8_000, 16_000, 22_050, 32_000, 44_100, 48_000]),
    hop_length=st.integers(1, 1_024),
    time_pooling=st.integers(1, 16),
)


def test_ten_seconds_are_626_mel_frames_and_156_frames_of_64_ms_that_end_at_9984_ms() -> None:
    num_samples = DESED.num_samples(10.0)
    assert num_samples == 160_000
    assert DESED.num_mel_frames(num_samples) == 626
    assert DESED.num_frames(num_samples) == 156
    assert DESED.frame_samples == 1_024
    assert DESED.frame_seconds == 0.064
    assert DESED.frame_rate == 15.625
    assert DESED.timestamps(156)[-1] == 9.984


@pytest.mark.parametrize(
    ("seconds", "frame", "after"),
    [
        # frames   0      1      2      3
        # seconds  0      0.064  0.128  0.192
        (0.0, 0, 0),
        (0.001, 0, 1),
        (0.064, 1, 1),  # an edge belongs to the later frame as an onset, and is reached by the earlier as an offset
        (0.065, 1, 2),
        (0.128, 2, 2),
        (0.191, 2, 3),
        (9.984, 156, 156),
        (10.0, 156, 157),
    ],
)
def test_an_onset_is_rounded_down_and_an_offset_up(seconds: float, frame: int, after: int) -> None:
    assert DESED.frame_at(seconds) == frame
    assert DESED.frame_after(seconds) == after
    assert DESED.frames_covering(seconds) == after


@pytest.mark.parametrize("noise", [-1e-9, 0.0, 1e-9])
def test_a_rounding_error_does_not_move_an_edge_to_the_next_frame(noise: float) -> None:
    assert 9 * 0.064 > 0.576  # the reason for the tolerance
    assert DESED.frame_at(9 * 0.064 + noise) == 9
    assert DESED.frame_after(9 * 0.064 + noise) == 9


def test_times_before_the_clip_are_its_first_frame() -> None:
    assert DESED.frame_at(-1.0) == 0
    assert DESED.frame_after(-1.0) == 0


@given(GRIDS, st.integers(0, 100_000))
def test_the_edge_of_a_frame_is_that_frame_again(grid: FrameGrid, frame: int) -> None:
    assert grid.frame_at(grid.seconds_at(frame)) == frame
    assert grid.frames_covering(grid.seconds_at(frame)) == frame


@given(GRIDS, st.floats(0, 3_600))
def test_a_time_lies_in_its_frame(grid: FrameGrid, seconds: float) -> None:
    rounding = 1e-5 * grid.frame_seconds
    assert grid.seconds_at(grid.frame_at(seconds)) <= seconds + rounding
    assert seconds <= grid.seconds_at(grid.frames_covering(seconds)) + rounding


@given(GRIDS, st.integers(0, 500))
def test_timestamps_are_the_edges_to_the_last_bit(grid: FrameGrid, num_frames: int) -> None:
    edges = grid.timestamps(num_frames)
    assert edges.dtype == np.float64
    assert edges.tolist() == [grid.seconds_at(frame) for frame in range(num_frames + 1)]


def test_a_stated_centre_moves_every_frame() -> None:
    # mel frames centred at 0, 16, 32, 48 ms: the four of frame 0 are centred at 24 ms, 8 ms before the usual 32 ms
    shifted = FrameGrid(16_000, 256, 4, first_frame_center=0.024)
    assert shifted.start == pytest.approx(-0.008)
    assert shifted.seconds_at(0) == 0.0
    assert shifted.seconds_at(1) == pytest.approx(0.056)
    assert shifted.frame_at(0.056) == 1
    assert shifted.timestamps(2) == pytest.approx([0.0, 0.056, 0.120])


def test_lengths_in_frames() -> None:
    assert DESED.frames_in(0.45) == 7
    assert DESED.odd_frames_in(0.448) == 7
    assert DESED.odd_frames_in(0.0) == 1


def test_clips_shorter_than_a_hop_have_one_mel_frame_and_no_frame() -> None:
    assert DESED.num_mel_frames(0) == 1
    assert DESED.num_frames(255) == 0


@pytest.mark.parametrize("wrong", [{"sample_rate": 0}, {"hop_length": -1}, {"time_pooling": 0}])
def test_a_clock_that_stands_still_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        FrameGrid(**({"sample_rate": 16_000, "hop_length": 256, "time_pooling": 4} | wrong))


def test_a_centre_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="first_frame_center"):
        FrameGrid(16_000, 256, 4, first_frame_center=math.nan)


def test_many_times_become_frames_as_one_does() -> None:
    grid = FrameGrid(16000, 256, 4)
    seconds = np.concatenate([np.arange(0, 2, 0.016), [0.064, 0.0640001, 9.984, -0.5]])
    assert grid.frames_at(seconds).tolist() == [grid.frame_at(float(second)) for second in seconds]
    assert grid.frames_after(seconds).tolist() == [grid.frame_after(float(second)) for second in seconds]
