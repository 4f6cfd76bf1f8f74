"""train_pretrained.py trains, tests and evaluates detectors that listen to extracted embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from desed_tree import write_desed
from fused_systems import write_weights

from desed_task.errors import CorpusError, DesedTaskError
from desed_task.training.run_folder import find_checkpoint
from recipes import extract_embeddings, train_pretrained

SMALL = {"name": "cnn14", "width": 0.02}
PANNS = {"name": "network", "features": {"name": "panns", "sample_rate": 16000}, "model": SMALL, "num_classes": 527}
NETWORK = {"nb_filters": [8, 8, 8], "pooling": [[2, 4], [2, 4], [1, 8]], "n_rnn_cell": 8}


@pytest.fixture(scope="module")
def desed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("desed") / "data" / "dcase" / "dataset"
    write_desed(root)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of PANNs a fiftieth as wide as published."""
    return write_weights(tmp_path_factory.mktemp("weights") / "small.pth", PANNS)


def write_conf(desed: Path, weights: Path, project: Path, folder: Path, **panns: Any) -> Path:
    """crnn_panns.yaml on that data, with windows of two seconds and a small network."""

    def at_root(number: int) -> dict[str, Any]:
        return {str(place): {"corpus": {"root": str(desed)}, "batch_size": 2} for place in range(number)}

    validation = {place: {"corpus": source["corpus"]} for place, source in at_root(2).items()}
    tree = {
        "base": str(project / "confs" / "sed" / "crnn_panns.yaml"),
        "data": {
            **{"clip_seconds": 2.0, "overlap_frames": 4, "store": str(folder / "store"), "train": at_root(3)},
            **{
                "validation": validation,
                "test": {"corpus": {"root": str(desed)}},
                "eval": {"root": str(desed)},
                "strong_real": {"root": str(desed)},
            },
        },
        "embedders": {
            "panns": {"model": SMALL, "weights": str(weights), "store": str(folder / "embeddings" / "panns"), **panns}
        },
        "model": NETWORK,
    }
    path = folder / "conf.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def reports(folder: Path) -> list[int]:
    paths = [folder / "metrics_test" / model / "report.json" for model in ("student", "teacher")]
    return [json.loads(path.read_text())["files_present"] for path in paths]


def test_without_a_conf_it_is_that_of_ast() -> None:
    assert train_pretrained.DEFAULT_CONF.name == "crnn_ast.yaml"
    assert train_pretrained.DEFAULT_CONF.is_file()


def test_embeddings_that_are_not_extracted_are_asked_for(
    desed: Path, weights: Path, project: Path, tmp_path: Path
) -> None:
    conf = write_conf(desed, weights, project, tmp_path)
    with pytest.raises(CorpusError, match=r"embeddings/panns/synth_train\.hdf5: no embeddings of .*extract_embeddings"):
        train_pretrained.main(["--conf_file", str(conf), "--log_dir", str(tmp_path / "exp"), "--gpus", "0"])
    assert not (tmp_path / "exp").exists()


@pytest.mark.slow
def test_extracted_trained_tested_and_evaluated(desed: Path, weights: Path, project: Path, tmp_path: Path) -> None:
    conf = write_conf(desed, weights, project, tmp_path)
    beside = ["--conf_file", str(conf)]
    extract_embeddings.main([*beside, "--output_dir", str(tmp_path / "embeddings"), "--device", "cpu", "--eval_set"])
    beside += ["--gpus", "0", "--fast_dev_run"]
    weights_elsewhere = weights.rename(weights.with_name("moved.pth"))
    try:  # a training from a store needs no network
        assert train_pretrained.main([*beside, "--log_dir", str(tmp_path / "exp")]) == 0
        run = tmp_path / "exp" / "version_0"
        assert reports(run) == [5, 5]
        stored = torch.load(find_checkpoint(run), weights_only=True)["sed_student"]
        assert {name.split(".")[0] for name in stored} == {"cnn", "fusion", "rnn", "dense", "dense_softmax"}

        again = ["--test_from_checkpoint", str(run), "--log_dir", str(tmp_path / "again"), "--gpus", "0"]
        assert train_pretrained.main(again) == 0
        assert reports(tmp_path / "again" / "version_0") == [5, 5]
        moved = tmp_path / "moved"
        (tmp_path / "embeddings").rename(moved)
        with pytest.raises(DesedTaskError, match=r"embeddings/panns/devtest\.hdf5"):
            train_pretrained.main(again)
        assert train_pretrained.main([*again, "--set", f"embedders.panns.store={moved / 'panns'}"]) == 0
    finally:
        weights_elsewhere.rename(weights)
    heard = ["--set", "embedders.panns.mode=frozen"]
    assert train_pretrained.main([*again, *heard]) == 0
    assert reports(tmp_path / "again" / "version_2") == [5, 5]
    _require_near(*(tmp_path / "again" / f"version_{number}" for number in (1, 2)))
    heard = ["--eval_from_checkpoint", str(run), "--log_dir", str(tmp_path / "eval"), "--gpus", "0"]
    assert train_pretrained.main([*heard, "--set", f"embedders.panns.store={moved / 'panns'}"]) == 0
    assert len(list((tmp_path / "eval").rglob("scores/raw/*.tsv"))) == 2 * 2


def _require_near(stored: Path, heard: Path) -> None:
    """Scores from float16 embeddings of the store are nearly those of the embedder."""
    for path in sorted((stored / "metrics_test").rglob("scores/raw/*.tsv")):
        one, other = (np.loadtxt(file, skiprows=1) for file in (path, heard / path.relative_to(stored)))
        np.testing.assert_allclose(one, other, atol=2e-3)
