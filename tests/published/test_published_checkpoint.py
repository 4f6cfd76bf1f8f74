"""Checkpoints in the published shapes give the scores they gave, with their own year's scaler range; or a question."""

from __future__ import annotations

import functools
import logging
import os
import pathlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from published_shapes import heard_weights, lightning_checkpoint, small_tree

from desed_task.audio.reading import read_waveform
from desed_task.batch import Inputs
from desed_task.errors import CheckpointError, OptionsError
from desed_task.experiment import load_system
from desed_task.labels import DESED_LABELS
from desed_task.prediction import predict
from desed_task.published.checkpoint import read_checkpoint
from desed_task.system import System, build_frontend, build_model

pytestmark = pytest.mark.usefixtures("one_thread")

# Each year's recipe and the Lightning it was run with.
SHAPES = [(2022, "1.5.1"), (2023, "1.9.0"), (2024, "2.2.0")]


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> list[tuple[str, NDArray[np.float32]]]:
    """Four real recordings of different classes, 5 s each."""
    files = sorted((shared_data / "esc10" / "audio").rglob("*.ogg"))[::80][:4]
    return [(file.stem, read_waveform(file, 16_000)) for file in files]


@pytest.fixture(scope="module")
def heard(recordings: list[tuple[str, NDArray[np.float32]]]) -> torch.Tensor:
    """(recordings, samples)"""
    return torch.from_numpy(np.stack([waveform[:79_000] for _, waveform in recordings]))


@pytest.fixture
def noise() -> torch.Tensor:
    return 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(1))


def save(tree: dict[str, Any], waveforms: torch.Tensor, path: Path, version: str = "1.9.0", **more: Any) -> Path:
    weights = heard_weights(tree, waveforms)[1]
    torch.save({**lightning_checkpoint(tree, weights, version), **more}, path)
    return path


def frame_scores(system: System, recordings: list[tuple[str, NDArray[np.float32]]]) -> NDArray[np.float32]:
    scores = predict(
        system.models["teacher"], system.ears, recordings, system.windowing, system.labels, torch.device("cpu")
    )
    frames = [clip.frame_values for clip in scores.values()]
    return np.concatenate([values for values in frames if values is not None])


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "prefixed"])
@pytest.mark.parametrize(("year", "version"), SHAPES)
def test_each_years_shape_gives_the_scores_it_was_saved_with(
    year: int,
    version: str,
    plain: bool,
    heard: torch.Tensor,
    recordings: list[tuple[str, NDArray[np.float32]]],
    tmp_path: Path,
) -> None:
    tree = small_tree(year)
    options, weights = heard_weights(tree, heard)
    torch.save(lightning_checkpoint(tree, weights, version, plain), tmp_path / "epoch=1-step=236.ckpt")
    system = load_system(tmp_path / "epoch=1-step=236.ckpt")
    expected_range = (-1.0, 1.0) if year == 2024 else (0.0, 1.0)
    assert system.options.features.scaler_range == expected_range
    assert list(system.models) == ["student", "teacher"]
    assert system.labels.names == DESED_LABELS

    model = build_model(options).eval()
    model.load_state_dict(weights)
    with torch.inference_mode():
        expected = model(Inputs(build_frontend(options)(heard))).strong_probs.numpy()
        loaded = system.models["student"](system.ears(heard)).strong_probs.numpy()
    np.testing.assert_allclose(loaded, expected, rtol=0, atol=1e-6)

    # The other range would be another system.
    right = frame_scores(system, recordings)
    wrong_range = (0.0, 1.0) if year == 2024 else (-1.0, 1.0)
    wrong = frame_scores(load_system(tmp_path / "epoch=1-step=236.ckpt", wrong_range), recordings)
    assert np.abs(right - wrong).max() > 0.2
    assert np.abs(right - wrong).mean() > 0.02


def test_a_published_network_has_two_gru_layers_whatever_rnn_layers_says(noise: torch.Tensor, tmp_path: Path) -> None:
    system = load_system(save(small_tree(2024), noise, tmp_path / "a.ckpt"))  # its rnn_layers is 1
    assert system.options.model.rnn_layers == 2
    assert "rnn.rnn.weight_ih_l1" in system.models["student"].state_dict()
    assert system.options.model.attention


def test_2024_recipes_from_before_the_change_ask_when_they_were_trained(noise: torch.Tensor, tmp_path: Path) -> None:
    tree = small_tree(2024)
    for key in ("specaugm_t_p", "specaugm_t_l", "specaugm_f_p", "specaugm_f_l", "median_filter"):
        del tree["net"][key]
    del tree["training"]["epoch_decay"], tree["net"]["dropstep_recurrent_len"]
    path = save(tree, noise, tmp_path / "april.ckpt")
    with pytest.raises(CheckpointError, match=r"before or after 27 April 2024\?.* give --scaler_range 0 1 \(before\)"):
        load_system(path)
    assert load_system(path, (0.0, 1.0)).options.features.scaler_range == (0.0, 1.0)
    assert load_system(path, (-1.0, 1.0)).options.features.scaler_range == (-1.0, 1.0)


def test_hyper_parameters_without_a_trace_of_the_year_ask_too(noise: torch.Tensor, tmp_path: Path) -> None:
    tree = small_tree(2022)
    tree["data"] = {"audio_max_len": 10, "fs": 16000, "net_subsample": 4, "synth_folder": "/mine/synth"}
    with pytest.raises(CheckpointError, match=r"hyper-parameters do not tell: give --scaler_range"):
        load_system(save(tree, noise, tmp_path / "a.ckpt"))


def test_a_2023_recipe_is_taken_as_published_and_the_other_case_is_named(
    noise: torch.Tensor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        load_system(save(small_tree(2023), noise, tmp_path / "a.ckpt"))
    assert any("published in 2023, scaler range [0, 1]" in line for line in caplog.messages)
    assert any("trained anew after 27 April 2024" in line for line in caplog.messages)


def test_27_classes_are_desed_and_maestro_in_the_published_order(noise: torch.Tensor, tmp_path: Path) -> None:
    windows = [3, 9, 9, 5, 5, 5, 9, 7, 11, 9, 7, 3, 9, 13, 7, 1, 13, 3, 13, 7, 5, 5, 1, 13, 17, 13, 15]
    tree = small_tree(2024, nclass=27, median_filter=windows)
    tree["training"]["batch_size"] = [12, 6, 6, 12, 24]
    tree["data"]["real_maestro_train_folder"] = "../../data/dcase/dataset/audio/maestro_real_train_16k"
    system = load_system(save(tree, noise, tmp_path / "a.ckpt"))
    assert len(system.labels) == 27
    assert system.labels.names[:10] == DESED_LABELS
    assert (system.labels[10], system.labels[26]) == ("cutlery and dishes", "birds_singing")
    assert system.postprocessing.median_filter_seconds[26] == pytest.approx(15 * 0.064)


def test_the_number_of_classes_is_read_from_the_output_layer_where_it_is_not_named(
    noise: torch.Tensor, tmp_path: Path
) -> None:
    tree = small_tree(2023, nclass=27)
    weights = heard_weights(tree, noise)[1]
    del tree["net"]["nclass"]
    torch.save(lightning_checkpoint(tree, weights, "1.9.0"), tmp_path / "a.ckpt")
    assert len(load_system(tmp_path / "a.ckpt").labels) == 27


def test_a_model_with_embeddings_that_are_not_known_is_refused_by_key(noise: torch.Tensor, tmp_path: Path) -> None:
    tree = small_tree(2023)
    weights = heard_weights(tree, noise)[1]
    tree["net"] |= {"use_embeddings": True, "embedding_size": 768}
    tree["pretrained"] = {"model": "ssast"}
    torch.save(lightning_checkpoint(tree, weights, "1.9.0"), tmp_path / "a.ckpt")
    with pytest.raises(
        OptionsError, match=r"a\.ckpt.*: the model needs .* net\.use_embeddings and pretrained: .*ssast"
    ):
        load_system(tmp_path / "a.ckpt")


def test_weights_that_do_not_fit_are_all_reported(noise: torch.Tensor, tmp_path: Path) -> None:
    tree = small_tree(2022)
    weights = heard_weights(tree, noise)[1]
    del weights["dense.bias"]
    weights |= {"dense.weight": torch.zeros(9, 32), "cat_tf.weight": torch.zeros(2)}
    torch.save(lightning_checkpoint(tree, weights, "1.5.1"), tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError) as refused:
        load_system(tmp_path / "a.ckpt")
    for part in (
        "Missing keys: dense.bias",
        "unexpected keys: cat_tf.weight",
        "size mismatch for dense.weight, (9, 32)",
    ):
        assert part in str(refused.value)


def test_one_model_alone_is_enough(noise: torch.Tensor, tmp_path: Path) -> None:
    tree = small_tree(2022)
    weights = heard_weights(tree, noise)[1]
    torch.save({"hyper_parameters": tree, "sed_teacher": weights}, tmp_path / "a.ckpt")
    assert list(load_system(tmp_path / "a.ckpt").models) == ["teacher"]


def test_scaler_range_is_not_for_checkpoints_of_ours(noise: torch.Tensor, tmp_path: Path) -> None:
    from desed_task.system import describe

    options, weights = heard_weights(small_tree(2022), noise)
    torch.save({"desed_task": describe(options), "sed_student": weights}, tmp_path / "a.ckpt")
    assert load_system(tmp_path / "a.ckpt").options == options
    with pytest.raises(CheckpointError, match=r"--scaler_range: .* leave the flag out"):
        load_system(tmp_path / "a.ckpt", (0.0, 1.0))


def test_what_old_lightning_leaves_behind_is_read_as_plain_values(tmp_path: Path) -> None:
    tree = small_tree(2022)
    tree["opt"]["lr"] = np.float64(0.001)
    tree["training"] |= {"seed": np.int64(42), "more": defaultdict(list, a=[1])}
    tree["data"]["where"] = pathlib.PurePosixPath("a") / "b"
    tree["data"]["here"] = Path("c/d")
    torch.save(lightning_checkpoint(tree, {"w": torch.ones(2)}, "1.5.1"), tmp_path / "a.ckpt")
    with pytest.raises(Exception, match="Unsupported"):
        torch.load(tmp_path / "a.ckpt", weights_only=True)
    hyper_parameters = read_checkpoint(tmp_path / "a.ckpt")["hyper_parameters"]
    assert type(hyper_parameters) is dict
    assert (hyper_parameters["opt"]["lr"], hyper_parameters["training"]["seed"]) == (0.001, 42)
    assert type(hyper_parameters["opt"]["lr"]) is float
    assert hyper_parameters["training"]["more"] == {"a": [1]}
    assert (hyper_parameters["data"]["where"], hyper_parameters["data"]["here"]) == ("a/b", "c/d")


class _Runs:
    """A pickle that runs `function` when it is read the ordinary way."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("place", ["hyper_parameters", "callbacks", "sed_student"])
@pytest.mark.parametrize("name", ["os.system", "eval", "partial", "getattr"])
def test_nothing_in_a_checkpoint_is_run(name: str, place: str, noise: torch.Tensor, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    code = f"open({str(touched)!r}, 'w').close()"
    attacks = {
        "os.system": _Runs(os.system, f"touch {touched}"),
        "eval": _Runs(eval, code),
        "partial": _Runs(functools.partial, eval, code),
        "getattr": _Runs(getattr, "text", "upper"),
    }
    tree = small_tree(2022)
    checkpoint = lightning_checkpoint(tree, heard_weights(tree, noise)[1], "1.5.1")
    checkpoint[place] = {**checkpoint[place], "x": attacks[name]}
    torch.save(checkpoint, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="is code and not data; nothing of it was run"):
        load_system(tmp_path / "a.ckpt")
    assert not touched.exists()


def test_code_under_the_name_of_a_known_package_is_not_run_either(
    noise: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pytorch_lightning

    ran = []

    def run(*_: Any) -> int:
        ran.append(1)
        return 1

    run.__module__, run.__qualname__ = "pytorch_lightning", "run"
    monkeypatch.setattr(pytorch_lightning, "run", run, raising=False)
    tree = small_tree(2022)
    checkpoint = lightning_checkpoint(tree, heard_weights(tree, noise)[1], "1.5.1")
    torch.save(checkpoint | {"loops": _Runs(run, 1)}, tmp_path / "a.ckpt")
    assert len(load_system(tmp_path / "a.ckpt").models) == 2
    assert not ran


def test_a_checkpoint_without_hyper_parameters_is_refused(noise: torch.Tensor, tmp_path: Path) -> None:
    weights = heard_weights(small_tree(2022), noise)[1]
    torch.save({"sed_student": weights}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"does not say how it was trained .*no published hyper_parameters"):
        load_system(tmp_path / "a.ckpt")
    (tmp_path / "b.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_system(tmp_path / "b.ckpt")
