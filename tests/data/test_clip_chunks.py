"""Where chunks begin, under each policy for a clip's end."""

from __future__ import annotations

import numpy as np
import pytest

from desed_task.chunking import Chunking
from desed_task.data.clip_chunks import chunk_counts, cut_chunks
from desed_task.data.tagging_options import Tail
from desed_task.timeline import FrameGrid

SECOND, HOP = 22_050, 11_025


def starts(length: int, tail: Tail) -> list[int]:
    clips, firsts = cut_chunks(np.array([length]), SECOND, HOP, tail)
    assert not clips.any()
    return [int(first) for first in firsts]


def test_the_published_counts() -> None:
    lengths = np.array([22050, 33075, 44100, 110250, 22049, 1])
    assert chunk_counts(lengths, SECOND, HOP, "tile").tolist() == [2, 3, 4, 10, 1, 1]


# samples  0         11025     22050     33075  40000
# tile     |---------|---------|---------|------         every start with a sample
# shift    0..22050, 11025..33075, 17950..40000
# drop     0..22050, 11025..33075
def test_the_end_of_a_clip() -> None:
    assert starts(40_000, "tile") == [0, 11_025, 22_050, 33_075]
    assert starts(40_000, "shift") == [0, 11_025, 17_950]
    assert starts(40_000, "drop") == [0, 11_025]


@pytest.mark.parametrize("tail", ["shift", "drop"])
def test_a_clip_that_ends_with_a_chunk_has_no_rest(tail: Tail) -> None:
    assert starts(33_075, tail) == [0, 11_025]
    assert starts(22_050, tail) == [0]
    assert starts(100, tail) == [0]


def test_chunks_of_several_clips_stand_one_after_another() -> None:
    clips, firsts = cut_chunks(np.array([100, 40_000, 22_050]), SECOND, HOP, "shift")
    assert list(zip(clips.tolist(), firsts.tolist(), strict=True)) == [
        *((0, 0), (1, 0), (1, 11_025), (1, 17_950), (2, 0)),
    ]


@pytest.mark.parametrize("tail", ["tile", "drop"])
def test_training_cuts_as_evaluation_does(tail: Tail) -> None:
    view = Chunking(FrameGrid(SECOND, 220, 1), 1.0, 0.5, tail)
    for length in (1, 22_049, 22_050, 22_051, 33_074, 33_075, 33_076, 100_000):
        assert starts(length, tail) == view.starts(length).tolist()
