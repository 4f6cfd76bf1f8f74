"""Bundles: written whole or not at all, and read only when everything in them fits together."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from desed_task.bundle import MANIFEST_FILE, MODEL_FILE, read_bundle, write_bundle
from desed_task.chunking import Chunking
from desed_task.errors import BundleError
from desed_task.labels import LabelSet


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle that a test may break."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    tree = json.loads((folder / MANIFEST_FILE).read_text())
    edit(tree)
    (folder / MANIFEST_FILE).write_text(json.dumps(tree))


def test_a_bundle_is_read_back_as_it_was_written(tiny_bundle: Path, tiny_model: bytes, tmp_path: Path) -> None:
    bundle = read_bundle(tiny_bundle)
    written = write_bundle(bundle, tiny_model, tmp_path / "deep" / "copy")
    assert written == bundle == read_bundle(tmp_path / "deep" / "copy")
    assert bundle.sample_rate == 16000
    assert bundle.provenance == {"licence": "MIT"}
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["copy"]


def test_an_older_bundle_is_replaced(folder: Path, tiny_model: bytes) -> None:
    write_bundle(dataclasses.replace(read_bundle(folder), version="2"), tiny_model, folder)
    assert read_bundle(folder).version == "2"
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


def test_a_folder_that_is_no_bundle_is_not_overwritten(tiny_bundle: Path, tiny_model: bytes, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(BundleError, match="is not a bundle"):
        write_bundle(read_bundle(tiny_bundle), tiny_model, tmp_path)
    assert (tmp_path / "thesis.tex").is_file()


def test_a_graph_with_another_number_of_classes_leaves_nothing_behind(
    tiny_bundle: Path, tiny_model: bytes, tmp_path: Path
) -> None:
    three = dataclasses.replace(read_bundle(tiny_bundle), labels=LabelSet(["a", "b", "c"]))
    with pytest.raises(BundleError, match=r"has 2 classes, .* lists 3 labels"):
        write_bundle(three, tiny_model, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_older_bundle(folder: Path) -> None:
    with pytest.raises(BundleError, match="onnxruntime cannot load it"):
        write_bundle(read_bundle(folder), b"no graph", folder)
    assert read_bundle(folder).model_id == "tiny"


def test_provenance_that_is_not_json_is_refused(tiny_bundle: Path, tiny_model: bytes, tmp_path: Path) -> None:
    odd = dataclasses.replace(read_bundle(tiny_bundle), provenance={"checkpoint": Path("x.ckpt")})
    with pytest.raises(BundleError, match="not JSON serializable"):
        write_bundle(odd, tiny_model, tmp_path / "bundle")


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt"])
def test_a_checkpoint_is_answered_with_the_command_that_exports_one(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"weights")
    with pytest.raises(BundleError, match=r"recipes/export_onnx.py --checkpoint .*model\.(ckpt|pt) --output DIR"):
        read_bundle(tmp_path / name)


def test_missing_things_are_named(folder: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle folder"):
        read_bundle(folder / "nowhere")
    with pytest.raises(BundleError, match="this is a file"):
        read_bundle(folder / MODEL_FILE)
    (folder / MODEL_FILE).unlink()
    with pytest.raises(BundleError, match=r"no model\.onnx in it"):
        read_bundle(folder)
    (folder / MANIFEST_FILE).unlink()
    with pytest.raises(BundleError, match=r"no bundle\.json in it"):
        read_bundle(folder)


def test_broken_json_is_refused(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_text('{"format_version": 1,')
    with pytest.raises(BundleError, match="not valid JSON"):
        read_bundle(folder)


def test_a_changed_graph_is_refused(folder: Path) -> None:
    with (folder / MODEL_FILE).open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(BundleError, match="sha256"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tree: tree.update(format_version=7), "format_version 7 is not the one"),
        (lambda tree: tree["labels"].append("third"), "has 2 classes, bundle.json lists 3 labels"),
        (lambda tree: tree.update(labels=["loud", "loud"]), "'loud' stands twice"),
        (lambda tree: tree["grid"].update(hop_lenght=256), "unknown key"),
        (lambda tree: tree["grid"].pop("hop_length"), "grid.hop_length: missing"),
        (lambda tree: tree["windowing"].update(overlap_frames=400), "overlap of 400 frames"),
        (lambda tree: tree["postprocessing"].update(threshold={"dog": 0.5}), "'dog' is not a class"),
        (lambda tree: tree["postprocessing"].update(threshold="high"), "postprocessing.threshold"),
    ],
)
def test_a_manifest_that_cannot_be_right_is_refused(
    folder: Path, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    edit_manifest(folder, edit)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_a_detectors_bundle_says_nothing_that_older_code_does_not_read(folder: Path) -> None:
    tree = json.loads((folder / MANIFEST_FILE).read_text())
    assert tree["format_version"] == 1
    assert tree["model"].keys() == {"id", "version", "sha256"}
    assert tree["windowing"] == {"window_seconds": 10.0, "overlap_frames": 10}


def test_a_taggers_bundle_is_read_back_and_is_of_format_2(tiny_tagger: Path, tmp_path: Path) -> None:
    bundle = read_bundle(tiny_tagger)
    assert isinstance(bundle.windowing, Chunking)
    assert (bundle.has_frames, bundle.fixed_view, bundle.output_names) == (False, True, ("weak", "weak_logits"))
    other_view = dataclasses.replace(bundle.windowing, tail="shift", short="zeros", clip_scores="soft", exponent=1.5)
    other = dataclasses.replace(bundle, windowing=other_view)
    assert write_bundle(other, (tiny_tagger / MODEL_FILE).read_bytes(), tmp_path / "b").windowing == other_view
    tree = json.loads((tiny_tagger / MANIFEST_FILE).read_text())
    assert tree["format_version"] == 2
    assert tree["model"] | {"sha256": ""} == {
        "id": "tiny tagger",
        "version": "1",
        "sha256": "",
        "has_frames": False,
        "fixed_view": True,
    }


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda tree: tree["model"].update(has_frames=True), "no output 'strong'; the graph has weak, weak_logits"),
        (lambda tree: tree["model"].update(fixed_view=False), r"'waveform' has fixed axes \['batch', 16000\]"),
        (lambda tree: tree["windowing"].update(window_seconds=2.0), "has 16000 samples, .* says windows of 32000"),
        (lambda tree: tree["windowing"].update(hop_seconds=2.0), "do not meet"),
        (lambda tree: tree["windowing"].update(tail="wrap"), "windowing.tail: .*'tile', 'shift', 'drop' or 'zeros'"),
        (lambda tree: tree["windowing"].update(overlap_frames=4), "windowing.overlap_frames: unknown key"),
        (lambda tree: tree["windowing"].pop("hop_seconds"), "windowing.* unknown key"),
    ],
)
def test_a_taggers_manifest_that_cannot_be_right_is_refused(
    tiny_tagger: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], None], message: str
) -> None:
    folder = Path(shutil.copytree(tiny_tagger, tmp_path / "bundle"))
    edit_manifest(folder, edit)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_frames_that_the_manifest_denies_are_refused(folder: Path) -> None:
    edit_manifest(folder, lambda tree: tree["model"].update(has_frames=False))
    with pytest.raises(BundleError, match="gives frame scores, the bundle says that it has none"):
        read_bundle(folder)
