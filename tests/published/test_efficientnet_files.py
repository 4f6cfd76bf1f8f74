"""Files of EfficientNets: PSLA's, which may carry a head for photographs, GISE-51's, and ours with linear heads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from desed_task.models.efficientnet import EfficientNet, EfficientNetOptions
from desed_task.models.tagger import InputShape
from desed_task.published.taggers import load_initial

SMALL = {"eff_b": 0, "width": 0.1, "depth": 0.1}


def build(num_classes: int = 3, **options: Any) -> EfficientNet:
    return EfficientNet(EfficientNetOptions(**SMALL, **options), InputShape(64, 64), num_classes)


def saved(folder: Path, weights: dict[str, Tensor]) -> Path:
    torch.save(weights, folder / "weights.pth")
    return folder / "weights.pth"


def equal(ours: EfficientNet, theirs: EfficientNet) -> set[str]:
    mine, other = ours.state_dict(), theirs.state_dict()
    return {name for name in mine if name in other and torch.equal(mine[name], other[name])}


def test_psla_loads_and_its_head_for_photographs_is_left_out(tmp_path: Path) -> None:
    theirs, ours = build(), build()
    old = {f"module.{name}": value for name, value in theirs.state_dict().items()}
    old |= {"module.effnet._fc.weight": torch.zeros(1000, 8), "module.effnet._fc.bias": torch.zeros(1000)}
    report = load_initial(ours, saved(tmp_path, old))
    assert report.left_out == ("effnet._fc.weight", "effnet._fc.bias")
    assert report.head == ()
    assert equal(ours, theirs) == set(ours.state_dict())


@pytest.mark.parametrize("prefix", ["", "net."])
def test_gise_loads_head_and_all(tmp_path: Path, prefix: str) -> None:
    theirs, ours = build(head="linear", image_size=221), build(head="linear", image_size=221)
    published = {prefix + name.removeprefix("effnet."): value for name, value in theirs.state_dict().items()}
    assert "effnet" not in "".join(published)
    report = load_initial(ours, saved(tmp_path, published))
    assert (report.head, report.left_out) == ((), ())
    assert equal(ours, theirs) == set(ours.state_dict())


def test_a_linear_head_of_ours_loads_with_the_rest(tmp_path: Path) -> None:
    theirs, ours = build(head="linear"), build(head="linear")
    load_initial(ours, saved(tmp_path, theirs.state_dict()))
    assert equal(ours, theirs) == set(ours.state_dict())


@pytest.mark.parametrize(
    "begun", [{"num_classes": 5}, {"head": "linear"}, {"att_head": 1}], ids=["classes", "linear", "one head"]
)
def test_another_head_stays_as_it_began(tmp_path: Path, begun: dict[str, Any]) -> None:
    theirs, ours = build(), build(**begun)
    head = {name: value.clone() for name, value in ours.state_dict().items() if name.startswith(ours.HEAD)}
    report = load_initial(ours, saved(tmp_path, theirs.state_dict()))
    assert set(report.head) == set(head)
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in head.items())
    assert equal(ours, theirs) >= {name for name in ours.state_dict() if name not in head}
