"""The published baseline, number by number: our parts beside a second, plain writing of its rules (DCASE Task 4, 2022).

The rules are written here as the published recipe has them: positions in the batch instead of supervision that travels
with the clips, seconds turned into frames by one formula, schedules by a counter.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from desed_task.batch import Batch, Targets
from desed_task.encoding import encode_strong
from desed_task.events import EventTable
from desed_task.experiment import SedOptions
from desed_task.formats.dcase import read_strong
from desed_task.labels import DESED_LABELS, LabelSet
from desed_task.options import read_options
from desed_task.postprocessing.thresholds import threshold_grid
from desed_task.system import build_ears, build_frontend, build_grid, build_model
from desed_task.training.mean_teacher import update_teacher
from desed_task.training.sed_module import SedModule

STEPS_PER_EPOCH, RAMP_STEPS = 118, 5900
SYNTHETIC, WEAK = slice(0, 12), slice(12, 24)


@pytest.fixture(scope="module")
def published(project: Path) -> SedOptions:
    """confs/sed/compat_2022.yaml."""
    return read_options(project / "confs" / "sed" / "compat_2022.yaml", SedOptions)


def published_frames(table: EventTable, filename: str) -> NDArray[np.float32]:
    """onset -> floor, offset -> ceil of seconds * 16000 / 256 / 4, in 156 frames; rows by hand."""
    frames = np.zeros((156, 10), dtype=np.float32)
    for event in table.of(filename):
        onset = int(min(event.onset * 16000 / 256 / 4, 156))
        offset = math.ceil(min(event.offset * 16000 / 256 / 4, 156))
        frames[onset:offset, sorted(DESED_LABELS).index(event.event_label)] = 1.0
    return frames


def test_every_event_of_the_dev_test_set_is_encoded_as_published(shared_data: Path, published: SedOptions) -> None:
    (path,) = (shared_data / "reference" / "dcase2021_student").rglob("validation.tsv")
    table, labels, grid = read_strong(path), LabelSet(DESED_LABELS), build_grid(published)
    assert (len(table), len(table.filenames)) == (4224, 1168)
    assert (grid.num_frames(160_000), grid.frame_seconds, grid.seconds_at(156)) == (156, 0.064, 9.984)
    different = [
        name
        for name in table.filenames
        if not np.array_equal(encode_strong(table.of(name), labels, grid, 156), published_frames(table, name))
    ]
    assert different == []


def test_the_length_of_a_training(published: SedOptions) -> None:
    shares = [source.batch_size for source in published.data.train]
    assert shares == [12, 12, 24]
    assert min(10_000 // 12, 1420 // 12, 14_412 // 24) == STEPS_PER_EPOCH
    assert published.training.n_epochs * STEPS_PER_EPOCH == 23_600
    assert published.training.n_epochs_warmup * STEPS_PER_EPOCH == RAMP_STEPS


def test_the_network_and_what_it_hears(published: SedOptions) -> None:
    model = build_model(published)
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_112_420
    assert build_frontend(published).spectrum(torch.zeros(1, 160_000)).shape == (1, 626, 128)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.99)}
    assert len(norms) == 7


def batch_of_48(published: SedOptions) -> Batch:
    rng = np.random.default_rng(0)
    waveform = torch.from_numpy(rng.normal(0, 0.05, (48, 16_000)).astype(np.float32))
    frames = build_grid(published).num_frames(16_000)
    targets = Targets(
        torch.from_numpy((rng.random((48, frames, 10)) > 0.8).astype(np.float32)),
        torch.from_numpy((rng.random((48, 10)) > 0.8).astype(np.float32)),
        torch.tensor([True] * 12 + [False] * 36),
        torch.tensor([False] * 12 + [True] * 12 + [False] * 24),
    )
    return Batch(waveform, targets, tuple(f"clip{number}" for number in range(48)))


def module_of(published: SedOptions, monkeypatch: pytest.MonkeyPatch) -> SedModule:
    monkeypatch.setattr(SedModule, "log", lambda *_, **__: None)
    monkeypatch.setattr(SedModule, "log_dict", lambda *_, **__: None)
    model = published.model.model_copy(update={"dropout": 0.0})
    options = published.model_copy(update={"model": model})
    torch.manual_seed(0)
    return SedModule(build_model(options), build_ears(options), options.training, (), STEPS_PER_EPOCH, lambda _: {}, {})


@pytest.mark.parametrize("step", [1, 2950])
def test_the_loss_of_a_step(step: int, published: SedOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCE on the first 12, BCE on the next 12, MSE of all 48 under the ramp; the counter stands at 1 in the first."""
    module, batch = module_of(published, monkeypatch), batch_of_48(published)
    monkeypatch.setattr(SedModule, "global_step", step - 1)
    assert module.sed_teacher is not None
    with torch.no_grad():
        for parameter in module.sed_teacher.parameters():
            parameter.mul_(0.9)
        inputs = module.ears(batch.waveform)
        student, teacher = module.sed_student(inputs), module.sed_teacher(inputs)
        strong = functional.binary_cross_entropy(student.strong_probs[SYNTHETIC], batch.targets.strong[SYNTHETIC])
        weak = functional.binary_cross_entropy(student.weak_probs[WEAK], batch.targets.weak[WEAK])
        consistency = functional.mse_loss(student.strong_probs, teacher.strong_probs)
        consistency += functional.mse_loss(student.weak_probs, teacher.weak_probs)
    weight = 2.0 * math.exp(-5.0 * (1.0 - min(step, RAMP_STEPS) / RAMP_STEPS) ** 2)
    torch.testing.assert_close(module.training_step(batch, 0).detach(), strong + weak + weight * consistency)


def test_the_learning_rate_of_every_step(published: SedOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    """The published scheduler first acts after the first step, at the counter 2."""
    module = module_of(published, monkeypatch)
    rates = [module.options.learning_rate * module.relative_rate(step) for step in range(6000)]
    expected = [1e-3] + [1e-3 * math.exp(-5.0 * (1.0 - min(k, 5900) / 5900) ** 2) for k in range(2, 6001)]
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_the_teachers_share_at_every_step() -> None:
    """1 - 1 / (step + 1), from .5 in the first step to .999 in the 999th, then .999."""
    teacher, student = torch.nn.Linear(1, 1, bias=False).double(), torch.nn.Linear(1, 1, bias=False).double()
    torch.nn.init.zeros_(student.weight)
    for step, share in ((1, 0.5), (2, 2 / 3), (998, 998 / 999), (999, 0.999), (1000, 0.999), (23_600, 0.999)):
        torch.nn.init.ones_(teacher.weight)
        update_teacher(teacher, student, step, decay=0.999)
        assert teacher.weight.item() == pytest.approx(share, rel=1e-12)


def test_the_operating_points() -> None:
    np.testing.assert_allclose(threshold_grid(), np.arange(1 / 100, 1, 1 / 50), rtol=1e-12)
    assert [f"{threshold:.2f}" for threshold in threshold_grid()[:2]] == ["0.01", "0.03"]


def test_the_median_filter_is_seven_frames(published: SedOptions) -> None:
    assert build_grid(published).odd_frames_in(float(published.postprocessing.median_filter_seconds)) == 7  # type: ignore[arg-type]
