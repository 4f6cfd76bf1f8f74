"""What a training holds of each clip is a few numbers and names, never its samples."""

from __future__ import annotations

import mmap
import tracemalloc
from pathlib import Path

import pytest

from benchmarks.machine import anonymous_bytes
from benchmarks.training_memory import LIMIT_MB, NUM_CLIPS, build, write_corpus

FEW, MANY = 100, 600
# What the limit of 200 MB for 27,000 more clips leaves to each.
BYTES_PER_CLIP = LIMIT_MB * 1e6 / (NUM_CLIPS["full"][1] - NUM_CLIPS["full"][0])


@pytest.fixture
def traced() -> object:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_each_further_clip_takes_a_few_kilobytes_of_memory(tmp_path: Path, traced: None) -> None:
    peaks = []
    for num_clips in (FEW, MANY):
        folder = tmp_path / str(num_clips)
        options = write_corpus(folder, num_clips)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        dataset = build(options)
        assert dataset.fingerprint
        batches = [dataset[0, step] for step in range(2)]
        assert batches[0].waveform.shape == (8, 160_000)
        peaks.append(tracemalloc.get_traced_memory()[1] - before)
    assert 0 < peaks[1] - peaks[0] < BYTES_PER_CLIP * (MANY - FEW)


def test_the_anonymous_memory_of_a_process_is_read() -> None:
    before = anonymous_bytes()
    with mmap.mmap(-1, 50_000_000, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:
        held.write(b"1" * len(held))
        assert 40e6 < anonymous_bytes() - before < 110e6  # the bytes just written may not be given back yet
