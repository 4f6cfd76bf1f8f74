"""Means of weights and of probabilities over epochs, against the plain formula."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from desed_task.batch import Inputs
from desed_task.errors import CheckpointError
from desed_task.training.checkpoint_averaging import average_checkpoints, epoch_of, find_epochs
from desed_task.training.prediction_ensemble import RunningEnsemble
from desed_task.training.weight_averaging import WeightAverage, reestimate_batch_norm


def epoch(weight: float, heard: int) -> dict[str, Tensor]:
    """A model's weights after an epoch; the norm has heard so many batches."""
    return {"linear.weight": torch.full((2, 2), weight), "norm.num_batches_tracked": torch.tensor(heard)}


EPOCHS = [epoch(1.0, 10), epoch(2.0, 20), epoch(6.0, 35)]


def test_the_plain_mean_takes_whole_numbers_from_the_last() -> None:
    average = WeightAverage("mean")
    for weights in EPOCHS:
        average.add(weights)
    assert average.average()["linear.weight"].tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert average.average()["norm.num_batches_tracked"] == torch.tensor(35)


def test_the_published_mean_counts_the_first_twice() -> None:
    average = WeightAverage("published")
    for weights in EPOCHS:
        average.add(weights)
    # (2 * 1 + 2 + 6) / 4 and (2 * 10 + 20 + 35) / 4 = 18.75, cut as torch does on loading
    assert average.average()["linear.weight"].tolist() == [[2.5, 2.5], [2.5, 2.5]]
    assert average.average()["norm.num_batches_tracked"] == torch.tensor(18)


def test_the_published_mean_is_that_of_the_published_course() -> None:
    """Begin with the first, add all, divide by one more than there are, load."""
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(5)]
    for number, model in enumerate(models):
        for _ in range(3 * number + 1):
            model(torch.randn(6, 3))
    total = {name: values.clone() for name, values in models[0].state_dict().items()}
    for model in models:
        total = {name: values + model.state_dict()[name] for name, values in total.items()}
    expected, mine = (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)) for _ in range(2))
    expected.load_state_dict({name: values / 6.0 for name, values in total.items()})
    average = WeightAverage("published")
    for model in models:
        average.add(model.state_dict())
    mine.load_state_dict(average.average())
    torch.testing.assert_close(mine.state_dict(), expected.state_dict(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mode", ["mean", "published"])
def test_a_resumed_average_goes_on_exactly(mode: Any) -> None:
    torch.manual_seed(0)
    models = [{**epoch(0.0, number), "w": torch.randn(50), "half": torch.randn(3).half()} for number in range(6)]
    whole, resumed = WeightAverage(mode), WeightAverage(mode)
    for weights in models:
        whole.add(weights)
        resumed.add(weights)
        content = io.BytesIO()
        torch.save(resumed.state(), content)
        content.seek(0)
        resumed = WeightAverage()
        resumed.restore(torch.load(content, weights_only=True))
    for name, values in whole.average().items():
        assert torch.equal(values, resumed.average()[name])
        assert values.dtype == models[0][name].dtype


def test_equal_weights_average_to_themselves() -> None:
    weights = {"w": torch.randn(1000)}
    average = WeightAverage("mean")
    for _ in range(15):
        average.add(weights)
    assert torch.equal(average.average()["w"], weights["w"])


def test_later_steps_do_not_move_what_was_added() -> None:
    weights = {"w": torch.ones(2, dtype=torch.float64), "n": torch.tensor(3)}
    average = WeightAverage("mean")
    average.add(weights)
    weights["w"].zero_()
    weights["n"].zero_()
    assert average.average()["w"].tolist() == [1.0, 1.0]
    assert average.average()["n"] == 3


def test_weights_of_another_model_are_refused() -> None:
    average = WeightAverage("mean")
    average.add({"a": torch.zeros(2)})
    for other in ({"b": torch.zeros(2)}, {"a": torch.zeros(3)}):
        with pytest.raises(CheckpointError, match="weights of different models"):
            average.add(other)


class Normed(nn.Module):
    """Batch norm behind dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(4, momentum=0.1)

    def forward(self, inputs: Inputs) -> Tensor:
        return torch.as_tensor(self.norm(self.dropout(inputs.mel).transpose(1, 2)))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_measured_anew_as_the_mean_over_batches(training: bool) -> None:
    model = Normed().train(training)
    model.norm.running_mean, model.norm.running_var = torch.full((4,), 77.0), torch.full((4,), 77.0)
    batches = [Inputs(torch.randn(8, 5, 4) + number) for number in range(3)]
    reestimate_batch_norm(model, batches)
    values = torch.stack([batch.mel.flatten(0, 1) for batch in batches])
    torch.testing.assert_close(model.norm.running_mean, values.mean(dim=(0, 1)))
    torch.testing.assert_close(model.norm.running_var, values.var(dim=1).mean(dim=0))
    assert model.norm.momentum == 0.1
    assert model.training == model.norm.training == model.dropout.training == training


def test_no_batches_leave_the_statistics_as_they_were() -> None:
    model = Normed()
    model.norm.running_mean = torch.full((4,), 77.0)

    def none() -> Iterator[Inputs]:
        yield from ()

    with pytest.raises(CheckpointError, match="no batches"):
        reestimate_batch_norm(model, none())
    assert model.norm.running_mean.tolist() == [77.0] * 4


def test_the_ensemble_is_the_mean_of_what_was_said() -> None:
    rng = np.random.default_rng(0)
    said = rng.random((5, 7, 3)).astype(np.float32)
    ensemble, resumed = RunningEnsemble(), RunningEnsemble()
    for number, probs in enumerate(said, start=1):
        ensemble.add(probs)
        resumed.add(probs)
        content = io.BytesIO()
        torch.save(resumed.state(), content)
        content.seek(0)
        resumed = RunningEnsemble()
        resumed.restore(torch.load(content, weights_only=True))
        np.testing.assert_allclose(ensemble.mean(), said[:number].astype(np.float64).mean(axis=0), rtol=1e-12)
    np.testing.assert_array_equal(ensemble.mean(), resumed.mean())
    assert ensemble.count == resumed.count == 5


def test_the_ensemble_does_not_hold_on_to_what_it_was_given() -> None:
    probs = np.full((1, 1), 0.5)
    ensemble = RunningEnsemble()
    ensemble.add(probs)
    probs[:] = 0
    assert ensemble.mean() == [[0.5]]


def checkpoint(path: Path, weight: float, **options: Any) -> Path:
    described = {"format": 1, "options": {"labels": ["hum"], "model": {"name": "x"}, "training": weight, **options}}
    torch.save(
        {
            "sed_student": epoch(weight, 1),
            "sed_teacher": epoch(10 * weight, 2),
            "desed_task": described,
            "optimizer_states": [],
        },
        path,
    )
    return path


def test_checkpoints_of_detectors_average_both_models(tmp_path: Path) -> None:
    paths = [checkpoint(tmp_path / f"epoch={number}-step=5.ckpt", float(number)) for number in (1, 2, 3)]
    averaged = average_checkpoints(paths)
    assert averaged.keys() == {"sed_student", "sed_teacher", "desed_task", "averaged"}
    assert float(averaged["sed_student"]["linear.weight"][0, 0]) == 2.0
    assert float(averaged["sed_teacher"]["linear.weight"][0, 0]) == 20.0
    assert averaged["desed_task"]["options"]["training"] == 3.0
    assert averaged["averaged"] == {"mode": "mean", "files": [path.name for path in paths]}


def test_bare_state_dicts_stay_bare(tmp_path: Path) -> None:
    for number in (16, 17):
        torch.save(epoch(float(number), 1), tmp_path / f"audio_model.{number}.pth")
    averaged = average_checkpoints(find_epochs(tmp_path, 16, 17), "published")
    assert averaged.keys() == EPOCHS[0].keys()
    assert float(averaged["linear.weight"][0, 0]) == pytest.approx((2 * 16 + 17) / 3)


def test_checkpoints_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    mine = checkpoint(tmp_path / "a.ckpt", 1.0)
    torch.save({"model": epoch(1.0, 1)}, tmp_path / "tagger.ckpt")
    torch.save({"sed_student": {"w": torch.zeros(1)}, "sed_teacher": {"w": torch.zeros(1)}}, tmp_path / "other.ckpt")
    torch.save({"epoch": 3}, tmp_path / "empty.ckpt")
    other_labels = checkpoint(tmp_path / "labels.ckpt", 1.0, labels=["hiss"])
    for paths, sentence in (
        ([mine], "name at least two"),
        ([mine, tmp_path / "tagger.ckpt"], "tagger.ckpt: holds other models than"),
        ([mine, tmp_path / "empty.ckpt"], "empty.ckpt: holds no weights"),
        ([mine, other_labels], "labels.ckpt: its labels are not those of"),
        ([tmp_path / "tagger.ckpt", tmp_path / "nowhere.ckpt"], "no such checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=sentence):
            average_checkpoints(paths)
    torch.save({"model": {"w": torch.zeros(1)}}, tmp_path / "small.ckpt")
    with pytest.raises(CheckpointError, match=r"small.ckpt: weights of different models"):
        average_checkpoints([tmp_path / "tagger.ckpt", tmp_path / "small.ckpt"])


def test_epochs_are_found_by_the_numbers_in_file_names(tmp_path: Path) -> None:
    for name in ("epoch=3-step=60.ckpt", "epoch=4-step=80.ckpt", "epoch=10-step=200.ckpt", "last.ckpt", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_epochs(tmp_path, 3, 4)] == ["epoch=3-step=60.ckpt", "epoch=4-step=80.ckpt"]
    assert [epoch_of(Path(name)) for name in ("audio_model.16.pth", "epoch_7.pt", "last.ckpt")] == [16, 7, None]
    with pytest.raises(CheckpointError, match="no checkpoint of epoch 5; there are those of epochs 3, 4, 10"):
        find_epochs(tmp_path, 3, 10)
    (tmp_path / "epoch=4-step=81.ckpt").touch()
    with pytest.raises(CheckpointError, match="are both of epoch 4"):
        find_epochs(tmp_path, 3, 4)
    with pytest.raises(CheckpointError, match="no such folder"):
        find_epochs(tmp_path / "nowhere", 1, 2)
