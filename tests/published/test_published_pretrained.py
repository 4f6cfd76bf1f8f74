"""A published pretrained.yaml whose embedder is heard in the step (e2e) trains as it stands, frozen or learning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from desed_tree import write_desed
from fused_systems import write_weights
from published_embeddings import panns_tree

from desed_task.training.run_folder import find_checkpoint
from recipes import train_pretrained

WIDTH = 0.02
PANNS = {"name": "network", "features": {"name": "panns", "sample_rate": 16000}, "num_classes": 527}
PANNS |= {"model": {"name": "cnn14", "width": WIDTH}}


@pytest.mark.slow
@pytest.mark.parametrize("freezed", [True, False], ids=["frozen", "learning"])
def test_a_published_conf_end_to_end(freezed: bool, tmp_path: Path) -> None:
    """PANNs are a fiftieth as wide, and windows have a second."""
    root = tmp_path / "data" / "dcase" / "dataset"
    write_desed(root)
    conf = tmp_path / "recipes" / "baseline" / "confs" / "pretrained.yaml"
    conf.parent.mkdir(parents=True)
    conf.write_text(yaml.safe_dump(panns_tree("frame", e2e=True, freezed=freezed)), encoding="utf-8")
    overrides = {
        "embedders.panns.weights": write_weights(tmp_path / "small.pth", PANNS),
        **{"embedders.panns.model.width": WIDTH, "data.clip_seconds": 1, "data.overlap_frames": 4},
        **{f"data.train.{number}.batch_size": 2 for number in range(3)},
    }
    arguments = [word for key, value in overrides.items() for word in ("--set", f"{key}={value}")]
    fixed = ["--conf_file", str(conf), "--log_dir", str(tmp_path / "exp"), "--gpus", "0", "--fast_dev_run"]
    assert train_pretrained.main([*fixed, *arguments]) == 0
    run = tmp_path / "exp" / "version_0"
    for model in ("student", "teacher"):
        assert json.loads((run / "metrics_test" / model / "report.json").read_text())["files_present"] == 5
    stored = torch.load(find_checkpoint(run), weights_only=True)["sed_student"]
    assert any(name.startswith("embedders.panns.") for name in stored) != freezed
