"""The file of an embedder's weights: written down when a training begins, asked for whenever it is read."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from fused_systems import CNN14, fused_options, write_checkpoint, write_weights

from desed_task.embeddings import weight_files
from desed_task.embeddings.weight_files import found_beside, require_weights, sha256_of
from desed_task.errors import CheckpointError
from desed_task.experiment import SedOptions, load_system, with_resolved_embedders
from desed_task.system import build_ears, build_model, load_learning


def options_of(weights: Path | None, mode: str = "frozen") -> SedOptions:
    embedder = {**CNN14, "mode": mode, "weights": None if weights is None else str(weights), "store": "nowhere"}
    return fused_options({"e": embedder}, {"e": "pool1d"})


def test_a_file_is_known_by_its_content_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"weights")
    assert sha256_of(path) == hashlib.sha256(b"weights").hexdigest()
    opened = []
    monkeypatch.setattr(weight_files.hashlib, "file_digest", lambda *_: opened.append(1))
    assert sha256_of(path) == hashlib.sha256(b"weights").hexdigest()
    assert opened == []


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"weights")
    before = sha256_of(path)
    path.write_bytes(b"other weights")
    assert sha256_of(path) == hashlib.sha256(b"other weights").hexdigest() != before


def test_a_folder_is_its_files_of_weights(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    expected = hashlib.sha256(f"model.safetensors {digest}\n".encode()).hexdigest()
    assert sha256_of(tmp_path) == expected
    (tmp_path / "README.md").write_text("says nothing of them")
    assert sha256_of(tmp_path) == expected
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights of an embedder are there"):
        sha256_of(tmp_path)


def test_weights_that_are_not_there_or_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(
        CheckpointError, match=r"w\.pt: the weights of an embedder are not there, .*; put the file back"
    ):
        require_weights(path, None)
    path.write_bytes(b"weights")
    require_weights(path, None)
    require_weights(path, hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(CheckpointError, match=r"w\.pt: not the weights that the conf names or .* \(sha256 9a129"):
        require_weights(path, hashlib.sha256(b"others").hexdigest())


def test_what_lies_beside_is_taken_where_nothing_else_is(tmp_path: Path) -> None:
    there, beside = tmp_path / "there" / "w.pt", tmp_path / "beside" / "w.pt"
    assert found_beside(there, beside.parent) == there
    beside.parent.mkdir()
    beside.touch()
    assert found_beside(there, beside.parent) == beside
    there.parent.mkdir()
    there.touch()
    assert found_beside(there, beside.parent) == there


@pytest.mark.parametrize("mode", ["frozen", "learning", "stored"])
def test_a_training_that_begins_writes_it_down(tmp_path: Path, mode: str) -> None:
    weights = write_weights(tmp_path / "w.pt", CNN14)
    recorded = with_resolved_embedders(options_of(weights, mode))
    assert recorded.embedders["e"].sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert with_resolved_embedders(recorded) == recorded


@pytest.mark.parametrize("mode", ["frozen", "learning"])
def test_a_training_does_not_begin_without_weights(tmp_path: Path, mode: str) -> None:
    with pytest.raises(CheckpointError, match="are not there"):
        with_resolved_embedders(options_of(tmp_path / "w.pt", mode))
    with pytest.raises(CheckpointError, match="no weights are named for network"):
        with_resolved_embedders(options_of(None, mode))


@pytest.mark.parametrize("weights", [None, Path("nowhere.pt")])
def test_with_stored_embeddings_it_does(weights: Path | None) -> None:
    assert with_resolved_embedders(options_of(weights, "stored")) == options_of(weights, "stored")


def test_a_conf_may_say_which_weights_it_means(tmp_path: Path) -> None:
    embedder = {**CNN14, "weights": str(write_weights(tmp_path / "w.pt", CNN14)), "sha256": "0" * 64}
    with pytest.raises(CheckpointError, match=r"those have 000000000000\.\.\."):
        with_resolved_embedders(fused_options({"e": embedder}, {"e": "pool1d"}))


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A frozen system's checkpoint, in a folder of its own; the weights are w.pt beside that folder."""
    weights = write_weights(tmp_path / "w.pt", CNN14)
    (tmp_path / "run").mkdir()
    return write_checkpoint(with_resolved_embedders(options_of(weights)), tmp_path / "run" / "best.ckpt")


def said_by(checkpoint: Path) -> torch.Tensor:
    system = load_system(checkpoint)
    waveform = 0.1 * torch.randn(1, 32_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits: torch.Tensor = system.models["student"](system.ears(waveform)).strong_logits
    return logits


def test_changed_weights_are_refused_by_whoever_hears(trained: Path) -> None:
    write_weights(trained.parent.parent / "w.pt", CNN14, seed=1)
    with pytest.raises(CheckpointError, match="or the detector was trained with"):
        said_by(trained)


def test_weights_may_lie_beside_the_checkpoint(trained: Path) -> None:
    expected = said_by(trained)
    weights = trained.parent.parent / "w.pt"
    shutil.move(weights, trained.parent / "w.pt")
    torch.testing.assert_close(said_by(trained), expected, rtol=0, atol=0)
    (trained.parent / "w.pt").unlink()
    with pytest.raises(CheckpointError, match="there or beside the detector's checkpoint"):
        said_by(trained)


def test_a_checkpoint_is_read_without_the_weights_until_it_hears(trained: Path) -> None:
    (trained.parent.parent / "w.pt").unlink()
    assert load_system(trained).models.keys() == {"student", "teacher"}


def test_what_learned_needs_no_weights_any_more(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "w.pt", CNN14)
    checkpoint = write_checkpoint(options_of(weights, "learning"), tmp_path / "best.ckpt")
    expected = said_by(checkpoint)
    weights.unlink()
    torch.testing.assert_close(said_by(checkpoint), expected, rtol=0, atol=0)
    options = options_of(weights, "learning")
    build_ears(options)
    with pytest.raises(CheckpointError, match="are not there"):
        load_learning(build_model(options), options)
