"""From a tagger's checkpoint to its bundle: heard in torch, by the detector, from the shell and over HTTP alike."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from tagger_checkpoints import FAMILIES, tagger_options, write_tagger
from tagging_clips import write_clips

from benchmarks.parity import running_service
from desed_task.audio.reading import read_waveform
from desed_task.bundle import read_bundle
from desed_task.chunking import Chunking
from desed_task.errors import CheckpointError, OptionsError
from desed_task.listening import Listener, load_any, open_bundle, open_checkpoint
from desed_task.options import write_options
from desed_task.parity import PARITY_TOLERANCE
from recipes import export_onnx
from serving.tag.tagging import tag

pytestmark = pytest.mark.usefixtures("one_thread")

FAST = ("ast", "efficientnet")
WITHOUT_FRAMES = {"ast"}
TOLERANCE = 1e-5
# Of these the front-end (a transform of 4096 samples, by FFT and by convolution), or the random network, enlarges
# rounding; what is allowed is what the export allows.
TOLERANCES = {"taltrans": PARITY_TOLERANCE, "efficientnet": PARITY_TOLERANCE}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of 0.6 to 1.5 s, shorter and longer than the taggers' chunks."""
    folder = tmp_path_factory.mktemp("recordings")
    write_clips(folder, {"eval": 10})
    return sorted((folder / "audio").iterdir())


def hear(listener: Listener, recordings: list[Path]) -> np.ndarray:
    """(recordings, classes)."""
    waveforms = [(path.stem, read_waveform(path, listener.sample_rate)) for path in recordings]
    heard = listener.clip_probs(waveforms)
    whole = listener.scores(waveforms)
    for audio_id, probs in heard.items():
        np.testing.assert_allclose(whole[audio_id].clip_values, probs, atol=1e-6)
    return np.stack(list(heard.values()))


@pytest.mark.parametrize("family", [pytest.param(f, marks=() if f in FAST else pytest.mark.slow) for f in FAMILIES])
def test_a_tagger_is_heard_everywhere_as_in_torch(
    family: str, recordings: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_tagger(family, tmp_path / "tagger.ckpt")
    bundle = tmp_path / "bundle"
    assert export_onnx.main(["--checkpoint", str(checkpoint), "--output", str(bundle), "--id", family]) == 0
    assert "largest difference from torch" in capsys.readouterr().out
    by_torch = hear(open_checkpoint(checkpoint, device="cpu"), recordings)
    by_bundle = hear(open_bundle(bundle, "cpu"), recordings)
    assert np.ptp(by_torch, axis=0).max() > 0.01  # answers that say something
    np.testing.assert_allclose(by_bundle, by_torch, atol=TOLERANCES.get(family, TOLERANCE))

    shell = ["--bundle", str(bundle), "--device", "cpu", "--num_threads", "1", "--format", "json"]
    assert tag([*map(str, recordings), *shell]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == [str(path) for path in recordings]
    labels = read_bundle(bundle).labels
    for line, expected in zip(lines, by_bundle, strict=True):
        assert {entry["label"]: entry["score"] for entry in line["tags"]} == pytest.approx(
            dict(zip(labels, expected.tolist(), strict=True)), abs=TOLERANCE
        )
        assert ("events" in line) is (family not in WITHOUT_FRAMES)


def test_a_published_file_becomes_a_bundle_by_the_conf_of_its_network(tmp_path: Path, recordings: list[Path]) -> None:
    ours = write_tagger("cnn14", tmp_path / "ours.ckpt")
    published, conf = tmp_path / "published.pth", tmp_path / "conf.yaml"
    torch.save({"iteration": 600_000, "model": torch.load(ours, weights_only=False)["model"]}, published)
    write_options(tagger_options("cnn14"), conf)
    arguments = ["--checkpoint", str(published), "--output", str(tmp_path / "bundle")]
    with pytest.raises(CheckpointError, match=r"weights of PANNs, which do not say .* --conf_file CONF"):
        export_onnx.main(arguments)
    assert export_onnx.main([*arguments, "--conf_file", str(conf)]) == 0
    by_torch = hear(open_checkpoint(ours, device="cpu"), recordings)
    np.testing.assert_allclose(hear(open_bundle(tmp_path / "bundle", "cpu"), recordings), by_torch, atol=TOLERANCE)


def test_a_published_file_of_other_classes_is_no_bundle(tmp_path: Path) -> None:
    ours, conf = write_tagger("cnn14", tmp_path / "ours.ckpt"), tmp_path / "conf.yaml"
    torch.save({"model": torch.load(ours, weights_only=False)["model"]}, tmp_path / "published.pth")
    write_options(tagger_options("cnn14"), conf)
    arguments = ["--checkpoint", str(tmp_path / "published.pth"), "--conf_file", str(conf)]
    with pytest.raises(CheckpointError, match="no head for the 2 classes of the conf"):
        export_onnx.main([*arguments, "--set", "labels=[a, b]", "--output", str(tmp_path / "bundle")])
    assert not (tmp_path / "bundle").exists()


def test_the_bundle_says_what_the_tagger_is(tmp_path: Path) -> None:
    checkpoint = write_tagger("ast", tmp_path / "tagger.ckpt")
    export_onnx.main(["--checkpoint", str(checkpoint), "--output", str(tmp_path / "bundle")])
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.labels.names == ("hum", "hiss", "tick")
    assert isinstance(bundle.windowing, Chunking)
    assert (bundle.windowing.window_seconds, bundle.windowing.hop_seconds, bundle.windowing.tail) == (1.0, 0.5, "shift")
    assert (bundle.has_frames, bundle.fixed_view, bundle.sample_rate) == (False, True, 16_000)
    assert bundle.provenance["model"] == "model"
    assert bundle.provenance["options"]["model"]["name"] == "ast"


@pytest.mark.slow
def test_a_server_tags_as_the_bundle_does(recordings: list[Path], tmp_path: Path) -> None:
    checkpoint = write_tagger("ast", tmp_path / "tagger.ckpt")
    export_onnx.main(["--checkpoint", str(checkpoint), "--output", str(tmp_path / "bundle")])
    expected = hear(open_checkpoint(checkpoint, device="cpu"), recordings[:3])
    with running_service(tmp_path / "bundle") as url:
        for path, of_clip in zip(recordings[:3], expected, strict=True):
            request = urllib.request.Request(f"{url}/v1/events", data=path.read_bytes(), method="POST")
            with urllib.request.urlopen(request, timeout=60) as response:
                tags = {entry["label"]: entry["score"] for entry in json.load(response)["tags"]}
            np.testing.assert_allclose([tags[label] for label in ("hum", "hiss", "tick")], of_clip, atol=TOLERANCE)


def test_a_checkpoint_says_itself_what_it_is(small_checkpoint: Path, tmp_path: Path) -> None:
    tagger = write_tagger("cnn14", tmp_path / "tagger.ckpt")
    assert list(load_any(tagger).models) == ["model"]
    assert list(load_any(small_checkpoint).models) == ["student", "teacher"]
    assert open_checkpoint(tagger, device="cpu").name == "model"
    with pytest.raises(CheckpointError, match="holds no teacher, only model; choose another --model"):
        open_checkpoint(tagger, "teacher", "cpu")
    with pytest.raises(CheckpointError, match="is a tagger, whose front-end it stores; leave the flag out"):
        load_any(tagger, (0.0, 1.0))


def test_a_bundle_may_pool_its_chunks_otherwise(tmp_path: Path, small_checkpoint: Path) -> None:
    checkpoint = write_tagger("cnn14", tmp_path / "tagger.ckpt")
    argv = ["--checkpoint", str(checkpoint), "--output", str(tmp_path / "bundle"), "--clip_scores", "max"]
    assert export_onnx.main(argv) == 0
    view = read_bundle(tmp_path / "bundle").windowing
    assert isinstance(view, Chunking) and view.clip_scores == "max"
    with pytest.raises(OptionsError, match="--clip_scores: is of taggers"):
        export_onnx.main(["--checkpoint", str(small_checkpoint), *argv[2:]])
