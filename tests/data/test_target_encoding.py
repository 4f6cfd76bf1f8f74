"""Targets: painted on the CPU, summed on a GPU, and the same."""

from __future__ import annotations

import numpy as np
import torch

from desed_task.data.target_encoding import paint, strong_on, weak_on

CLIPS, FRAMES, CLASSES = 5, 40, 3


def test_an_event_is_its_frames_of_its_class() -> None:
    # frames     0 1 2 3 4 5
    # Dog (1)      |---|        of clip 0
    # Dog (1)        |-----|    of clip 0, overlapping
    strong = np.array([[0, 1, 3, 1], [0, 2, 5, 1]])
    painted, tags = paint(strong, np.array([[1, 2], [1, 2]]), 2, 6, 3)
    assert painted[0, :, 1].tolist() == [0, 1, 1, 1, 1, 0]
    assert painted.sum() == 4
    assert tags.tolist() == [[0, 0, 0], [0, 0, 1]]


def test_both_ways_give_the_same_targets() -> None:
    rng = np.random.default_rng(0)
    for num_events in (0, 1, 60):
        first = rng.integers(0, FRAMES, num_events)
        last = np.minimum(first + rng.integers(1, 20, num_events), FRAMES)
        clip, label = rng.integers(0, CLIPS, num_events), rng.integers(0, CLASSES, num_events)
        strong, weak = np.stack([clip, first, last, label], axis=1), np.stack([clip, label], axis=1)
        painted, tags = paint(strong, weak, CLIPS, FRAMES, CLASSES)
        assert torch.equal(painted, strong_on(torch.from_numpy(strong), CLIPS, FRAMES, CLASSES))
        assert torch.equal(tags, weak_on(torch.from_numpy(weak), CLIPS, CLASSES))
        assert painted.dtype == tags.dtype == torch.float32
