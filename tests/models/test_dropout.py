"""Dropout drawn byte by byte: shares, scale, mean, reproducibility, gradient."""

from __future__ import annotations

import pytest
import torch

from desed_task.models.dropout import Dropout

SHAPE = (50, 40, 101)  # 202,000 elements: not a multiple of 8 once cut to 101


def dropped(probability: float, x: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    layer = Dropout(probability)
    assert layer.training
    output: torch.Tensor = layer(x)
    return output


@pytest.mark.parametrize(("probability", "share"), [(0.5, 128 / 256), (0.3, 77 / 256), (0.1, 26 / 256)])
def test_share_dropped_scale_and_mean(probability: float, share: float) -> None:
    output = dropped(probability, torch.ones(SHAPE))
    assert (output == 0).float().mean().item() == pytest.approx(share, abs=0.005)
    survivors = output[output != 0]
    torch.testing.assert_close(survivors, torch.full_like(survivors, 1 / (1 - share)))
    assert output.mean().item() == pytest.approx(1.0, abs=0.01)


def test_neighbours_are_dropped_independently() -> None:
    gone = (dropped(0.5, torch.ones(160_000)) == 0).float()
    for distance in (1, 2, 4, 8):
        assert (gone[:-distance] * gone[distance:]).mean().item() == pytest.approx(0.25, abs=0.01)


def test_the_seed_decides() -> None:
    x = torch.rand(SHAPE)
    assert torch.equal(dropped(0.5, x, seed=3), dropped(0.5, x, seed=3))
    assert not torch.equal(dropped(0.5, x, seed=3), dropped(0.5, x, seed=4))


def test_evaluation_and_probability_zero_change_nothing() -> None:
    x = torch.rand(3, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_gradient_is_the_mask() -> None:
    x = torch.rand(7, 3) + 0.5
    x.requires_grad_(True)
    output = dropped(0.5, x)
    output.sum().backward()
    torch.testing.assert_close(x.grad, output.detach() / x.detach())
    assert set(x.grad.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("probability", [0.001, 0.999])
def test_extreme_probabilities_stay_finite(probability: float) -> None:
    assert torch.isfinite(dropped(probability, torch.ones(SHAPE))).all()


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 0, 4), (5, 7, 3)])
def test_any_shape_and_layout(shape: tuple[int, ...]) -> None:
    assert dropped(0.5, torch.ones(shape)).shape == shape
    last = torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert dropped(0.5, last).shape == (2, 3, 4, 5)


def test_a_recorded_layer_draws_anew_each_time() -> None:
    recorded = torch.jit.trace(Dropout(0.5).train(), torch.ones(1000), check_trace=False)
    one, other = recorded(torch.ones(1000)), recorded(torch.ones(1000))
    assert set(one.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(one, other)
