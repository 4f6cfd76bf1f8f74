"""Exported weights: called after the figures, read back strictly, by the published names; what cannot be is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tagger_checkpoints import tagger_options, write_tagger
from tagging_clips import write_clips

from desed_task.errors import CheckpointError, DesedTaskError, OptionsError
from desed_task.options import write_options
from desed_task.published import weight_export
from desed_task.published.taggers import load_initial
from desed_task.published.weight_export import weights_name, write_weights
from desed_task.system import build_model
from desed_task.tagging import load_tagger
from recipes import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    return write_clips(folder, {"eval": 6})


@pytest.mark.parametrize("family", ["resnet", "cifar_resnet", "densenet", "efficientnet of gise"])
def test_weights_are_called_after_the_figures_and_load_strictly(family: str, clips: Path, tmp_path: Path) -> None:
    checkpoint = write_tagger(family, tmp_path / "tagger.ckpt")
    argv = ["--checkpoint", str(checkpoint), "--manifest", str(clips), "--output_dir", str(tmp_path / "out")]
    assert evaluate.main([*argv, "--device", "cpu", "--export_weights", "--export_dir", str(tmp_path / "pth")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    (exported,) = (tmp_path / "pth").iterdir()
    assert exported.name == f"mAP={report['map']:.4f}_dprime={report['dprime']:.4f}_num_classes=3.pth"
    theirs = load_tagger(checkpoint).models["model"].state_dict()
    ours = build_model(tagger_options(family))
    loaded = load_initial(ours, exported)
    assert (loaded.head, loaded.left_out) == ((), ())
    assert all(torch.equal(values, theirs[name]) for name, values in ours.state_dict().items())


def test_an_efficientnet_of_gise_is_exported_by_its_published_names(clips: Path, tmp_path: Path) -> None:
    model = build_model(tagger_options("efficientnet of gise"))
    write_weights(model, tmp_path / "new" / "weights.pth")
    names = list(torch.load(tmp_path / "new" / "weights.pth", weights_only=True))
    assert names[0] == "_conv_stem.weight"
    assert names[-2:] == ["_fc.weight", "_fc.bias"]
    assert f"effnet.{names[5]}" in model.state_dict()


def test_every_run_of_a_folder_has_its_weights(clips: Path, tmp_path: Path) -> None:
    checkpoint = write_tagger("cifar_resnet", tmp_path / "tagger.ckpt")
    for run in ("a/version_0", "a/version_1"):
        (tmp_path / "exp" / run).mkdir(parents=True)
        shutil.copy(checkpoint, tmp_path / "exp" / run / "last.ckpt")
        write_options(tagger_options("cifar_resnet"), tmp_path / "exp" / run / "conf.yaml")
    argv = ["--exp_dir", str(tmp_path / "exp"), "--manifest", str(clips), "--output_dir", str(tmp_path / "out")]
    assert evaluate.main([*argv, "--device", "cpu", "--export_dir", str(tmp_path / "pth")]) == 0
    found = sorted(str(path.relative_to(tmp_path / "pth").parent) for path in (tmp_path / "pth").rglob("*.pth"))
    assert found == ["a/version_0", "a/version_1"]
    assert not list((tmp_path / "pth").rglob("*.partial"))


def test_figures_that_are_undefined_are_nan() -> None:
    assert weights_name(None, 1.81954, 51) == "mAP=nan_dprime=1.8195_num_classes=51.pth"


def test_what_reads_back_otherwise_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"older")
    model = build_model(tagger_options("cifar_resnet"))
    broken = {name: values + 1 for name, values in weight_export.published_weights(model).items()}
    monkeypatch.setattr(torch, "load", lambda *_, **__: broken)
    with pytest.raises(CheckpointError, match="reads back otherwise"):
        write_weights(model, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pth"]
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (["--checkpoint", "c.ckpt", "--export_weights"], OptionsError, r"name the folder that receives them"),
        (["--bundle", "b", "--export_dir", "w"], DesedTaskError, "a bundle holds a graph"),
        (["--checkpoint", "c.ckpt", "--export_dir", __file__], DesedTaskError, "stands there and is no folder"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    flags: list[str], error: type[DesedTaskError], message: str, clips: Path
) -> None:
    with pytest.raises(error, match=message):
        evaluate.main([*flags, "--manifest", str(clips)])
