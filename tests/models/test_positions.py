"""Position embeddings by hand: sinusoids, and grids of patches that are cut or interpolated."""

from __future__ import annotations

import math

import pytest
import torch

from desed_task.models.positions import add_sinusoids, resize_positions


def grid_of(rows: list[list[float]]) -> torch.Tensor:
    """Two special tokens, 100 and 200, then patches row by row, each of one number."""
    return torch.tensor([[100.0, 200.0, *(value for row in rows for value in row)]]).unsqueeze(-1)


def resized(rows: list[list[float]], new: tuple[int, int]) -> list[float]:
    old = (len(rows), len(rows[0]))
    values: list[float] = resize_positions(grid_of(rows), old, new, special_tokens=2).flatten().tolist()
    return values


def test_the_same_grid_stays() -> None:
    assert resized([[1, 2, 3], [4, 5, 6]], (2, 3)) == [100, 200, 1, 2, 3, 4, 5, 6]


def test_a_shorter_axis_keeps_its_middle() -> None:
    # 5 columns to 2: from 5 // 2 - 2 // 2 = 1; 101 to 50, as of 5 s: from 50 - 25
    assert resized([[0, 1, 2, 3, 4]], (1, 2)) == [100, 200, 1, 2]
    assert resized([[0, 1, 2, 3, 4]], (1, 3)) == [100, 200, 1, 2, 3]
    assert resized([[float(column) for column in range(101)]], (1, 50))[2:] == list(range(25, 75))
    assert resized([[0], [1], [2], [3]], (2, 1)) == [100, 200, 1, 2]


def test_a_longer_axis_is_interpolated_between_the_middles_of_its_patches() -> None:
    # 2 columns to 4: their middles lie at -.25, .25, .75 and 1.25 of the old ones, held at the ends
    assert resized([[0, 8]], (1, 4)) == [100, 200, 0, 2, 6, 8]
    assert resized([[0], [8]], (4, 1)) == [100, 200, 0, 2, 6, 8]


def test_one_axis_may_shrink_while_the_other_grows() -> None:
    assert resized([[0, 8], [10, 18], [20, 28]], (1, 4)) == [100, 200, 10, 12, 16, 18]


def test_features_of_a_patch_stay_together() -> None:
    positions = torch.stack([torch.arange(8.0), 10 + torch.arange(8.0)], dim=-1).unsqueeze(0)
    cut = resize_positions(positions, (2, 3), (1, 3), special_tokens=2)
    assert cut[0].tolist() == [[0, 10], [1, 11], [5, 15], [6, 16], [7, 17]]  # row 1 of rows 0 and 1


def test_sinusoids_alternate_sine_and_cosine_and_slow_down() -> None:
    waves = add_sinusoids(torch.zeros(1, 3, 4))[0]
    assert waves[0].tolist() == [0, 1, 0, 1]
    slow = 2 / math.sqrt(10_000)  # the second pair's rate is 10000 ** (-2 / 4)
    expected = [math.sin(2), math.cos(2), math.sin(slow), math.cos(slow)]
    assert waves[2].tolist() == pytest.approx(expected, abs=1e-6)


def test_sinusoids_are_added_to_every_clip_of_odd_width_too() -> None:
    waves = add_sinusoids(torch.ones(2, 5, 3))
    assert waves.shape == (2, 5, 3)
    assert torch.equal(waves[0], waves[1])
    assert waves[0, 0].tolist() == [1, 2, 1]
