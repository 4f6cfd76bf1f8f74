"""Speed and cost of a training: what is counted, what is left out, and that stretches add up."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from same_training import read_events
from torch import Tensor

from desed_task.batch import Batch
from desed_task.data.dataset import BatchDataset
from desed_task.training import keeper
from desed_task.training.energy import EnergyReading
from desed_task.training.fit import fit
from desed_task.training.sed_module import SedModule
from desed_task.training.throughput import (
    CLIPS_PER_SECOND,
    FILE,
    KWH_PER_1000_STEPS,
    Work,
    copy_work,
    read_work,
    sentence_of,
    summary_of,
)

MakeModule = Callable[..., SedModule]
SLOW = 0.3


class Meter(EnergyReading):
    """0.001 kWh more at each reading."""

    def __init__(self, kwh: float = 0.0) -> None:
        super().__init__("meter", kwh, estimated=False, flush=self._read)

    def _read(self) -> None:
        assert self.kwh is not None
        self.kwh += 0.001


def train(
    module: SedModule, dataset: BatchDataset, folder: Path, energy: EnergyReading | None = None, resume: bool = False
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    fit(module, dataset, folder, torch.device("cpu"), False, folder / "last.ckpt" if resume else None, energy)
    content: dict[str, Any] = json.loads((folder / FILE).read_text())
    return content


def test_rates_are_those_of_the_steps_and_cost_is_that_of_the_meter() -> None:
    stretches = [Work(steps=3000, clips=48 * 3000, seconds=600.0), Work(steps=1000, clips=48 * 1000, seconds=200.0)]
    summary = summary_of(stretches, EnergyReading("t", kwh=0.02, estimated=False))
    assert summary["steps"] == 4000
    assert summary["clips_per_second"] == pytest.approx(240.0)
    assert summary["steps_per_second"] == pytest.approx(5.0)
    assert summary["kwh_per_1000_steps"] == pytest.approx(0.005)
    assert sentence_of(summary) == "4000 steps in 13.3 minutes, 240 clips/s, 0.005 kWh per 1,000 steps (metered)"
    unknown = summary_of(stretches, EnergyReading("t"))
    assert unknown["kwh_per_1000_steps"] is None
    assert sentence_of(unknown) == "4000 steps in 13.3 minutes, 240 clips/s, energy not metered"
    assert "(estimated)" in sentence_of(summary_of(stretches, EnergyReading("t", kwh=0.02)))


def test_each_epoch_is_logged_and_the_run_is_summed_up(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    found = train(make_module(n_epochs=3), dataset, tmp_path / "run", Meter())
    assert (found["steps"], found["clips"]) == (15, 60)
    assert found["clips_per_second"] == pytest.approx(60 / (60 * found["minutes"]))
    assert not found["energy_estimated"]
    events = read_events(tmp_path / "run")
    assert [event.step for event in events.Scalars(CLIPS_PER_SECOND)] == [5, 10, 15]
    # One reading when the epoch's last step is made, one with its checkpoint; before the first epoch, none counts.
    costs = [event.value for event in events.Scalars(KWH_PER_1000_STEPS)]
    assert costs == pytest.approx([1000 * 0.001 / 5, 1000 * 0.002 / 5, 1000 * 0.002 / 5])
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    assert len(lines) == 3
    assert all("clips/s" in line and "kWh per 1,000 steps (metered)" in line for line in lines)
    (said,) = [line for line in caplog.messages if line.startswith("15 steps in")]
    assert "clips/s" in said


def test_validation_and_checkpoints_are_left_out(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: list[float] = []
    original = keeper.Keeper._write

    def slow_write(*arguments: Any) -> None:
        saves.append(SLOW)
        time.sleep(SLOW)
        original(*arguments)

    def slow_validation(model: Any) -> dict[str, float]:
        time.sleep(SLOW)
        return {"objective": 0.5}

    monkeypatch.setattr(keeper.Keeper, "_write", slow_write)
    start = time.perf_counter()
    found = train(make_module(slow_validation, n_epochs=2, checkpoint_minutes=1e-9), dataset, tmp_path / "run")
    wall = time.perf_counter() - start
    assert len(saves) >= 10
    assert 60 * found["minutes"] <= wall - SLOW * (len(saves) + 2)


def test_a_resumed_training_adds_up(make_module: MakeModule, dataset: BatchDataset, tmp_path: Path) -> None:
    folder, energy = tmp_path / "run", Meter()
    first = train(make_module(n_epochs=1), dataset, folder, energy)
    kwh = energy.kwh
    both = train(make_module(n_epochs=3), dataset, folder, energy, resume=True)
    assert (first["steps"], both["steps"], both["clips"]) == (5, 15, 60)
    assert [stretch["steps"] for stretch in both["stretches"]] == [5, 10]
    assert both["stretches"][0] == first["stretches"][0]
    assert kwh is not None
    assert both["kwh_per_1000_steps"] > 1000 * kwh / 15
    again = train(make_module(n_epochs=1), dataset, folder)  # anew: nothing was before
    assert again["steps"] == 5


def test_an_epoch_that_goes_on_is_timed_from_where_it_goes_on(
    make_module: MakeModule, dataset: BatchDataset, tmp_path: Path
) -> None:
    def module(steps: int) -> SedModule:
        """Ends after so many steps, each of which takes its time."""
        made, left = make_module(n_epochs=2, checkpoint_minutes=1e-9), list(range(steps))
        step = made.training_step

        def slow(batch: Batch, batch_idx: int) -> Tensor:
            left.pop()
            time.sleep(SLOW / 5)
            return step(batch, batch_idx)

        made.training_step = slow  # type: ignore[method-assign]
        return made

    with pytest.raises(IndexError):
        train(module(steps=6), dataset, tmp_path / "run")
    found = train(module(steps=4), dataset, tmp_path / "run", resume=True)
    assert [stretch["steps"] for stretch in found["stretches"]] == [6, 4]
    assert found["stretches"][1]["seconds"] >= 4 * SLOW / 5
    events = read_events(tmp_path / "run")
    assert [event.step for event in events.Scalars(CLIPS_PER_SECOND)] == [5, 10]


def test_a_training_that_goes_on_elsewhere_takes_its_record_along(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    copy_work(old, new)
    assert read_work(new) == []
    (old / FILE).write_text(json.dumps({"stretches": [{"steps": 5, "clips": 20, "seconds": 1.5}]}))
    copy_work(old, new)
    assert read_work(new) == [Work(5, 20, 1.5)]


@pytest.mark.parametrize("content", ["{", "[]", '{"stretches": [{"stps": 1}]}', '{"stretches": 3}'])
def test_a_damaged_record_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert read_work(tmp_path) == []
    assert "throughput of earlier stretches is not readable" in caplog.text
