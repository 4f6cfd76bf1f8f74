"""Bundles of detectors that listen to embeddings: one graph, which hears what torch hears, served like any other."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnx
import pytest
import torch
from fused_systems import AST, CNN14, CNN14_32K, fused_options, write_checkpoint, write_weights
from numpy.typing import NDArray

from desed_task.audio.reading import write_waveform
from desed_task.bundle import MODEL_FILE, read_bundle
from desed_task.detector import Detector
from desed_task.errors import CheckpointError
from desed_task.experiment import load_system
from desed_task.parity import PARITY_TOLERANCE, synthetic_recordings
from desed_task.prediction import predict
from desed_task.system import System
from recipes import export_onnx

pytestmark = pytest.mark.usefixtures("one_thread")

Embedders = dict[str, dict[str, Any]]


def of_mode(mode: str, **more: Any) -> dict[str, Any]:
    return {"mode": mode, **({"store": "nowhere"} if mode == "stored" else {}), **more}


# embedders, their ways, how they join
SYSTEMS: dict[str, tuple[Embedders, dict[str, str], str]] = {
    "two, gated": ({"a": {**CNN14, **of_mode("frozen")}, "b": {**AST, **of_mode("learning")}},
                   {"a": "aligned", "b": "pool1d"}, "gated"),
    "stored": ({"b": {**AST, **of_mode("stored", output="tokens")}}, {"b": "interpolate"}, "concatenated"),
    "another rate": ({"a": {**CNN14_32K, **of_mode("frozen")}}, {"a": "aligned"}, "concatenated"),
    "global": ({"a": {**CNN14, **of_mode("frozen", output="global")}}, {"a": "global"}, "concatenated"),
    "frame": ({"a": {**CNN14, **of_mode("frozen")}}, {"a": "frame"}, "concatenated"),
    "segments": ({"a": {**CNN14, **of_mode("learning", output="segments")}}, {"a": "interpolate"}, "gated"),
    "aligned": ({"b": {**AST, **of_mode("frozen")}}, {"b": "aligned"}, "concatenated"),
    "another rate learns": ({"a": {**CNN14_32K, **of_mode("learning")}}, {"a": "pool1d"}, "concatenated"),
    "two, one stored": ({"a": {**CNN14, **of_mode("learning")}, "b": {**AST, **of_mode("stored")}},
                        {"a": "aligned", "b": "aligned"}, "gated"),
}  # fmt: skip
QUICK = ("two, gated", "stored", "another rate")


def checkpoint_of(name: str, folder: Path) -> Path:
    """A checkpoint, best.ckpt, and the weights of its embedders, <embedder>.pt."""
    embedders, ways, join = SYSTEMS[name]
    named = {key: {**one, "weights": str(write_weights(folder / f"{key}.pt", one))} for key, one in embedders.items()}
    return write_checkpoint(fused_options(named, ways, join), folder / "best.ckpt")


def export(checkpoint: Path, *more: str) -> Path:
    bundle = checkpoint.parent / "bundle"
    assert export_onnx.main(["--checkpoint", str(checkpoint), "--output", str(bundle), *more]) == 0
    return bundle


def recordings() -> dict[str, NDArray[np.float32]]:
    """Of half a second, of a window's two seconds, of 7.3 s."""
    first, *_, last = synthetic_recordings(16_000)
    return {"short": first[60_000:68_000], "window": first[:32_000], "long": np.concatenate([first, last])[:116_800]}


def said_by_torch(system: System[Any], waveforms: dict[str, NDArray[np.float32]]) -> Any:
    ears, cpu = system.ears, torch.device("cpu")
    return predict(system.models["student"], ears, waveforms.items(), system.windowing, system.labels, cpu)


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in SYSTEMS])
def test_one_graph_hears_what_torch_hears(tmp_path: Path, name: str) -> None:
    checkpoint = checkpoint_of(name, tmp_path)
    folder = export(checkpoint)
    bundle = read_bundle(folder)
    assert bundle.fixed_view and bundle.has_frames
    assert 0 < bundle.provenance["parity"]["largest_difference"] <= PARITY_TOLERANCE
    expected, waveforms = said_by_torch(load_system(checkpoint), recordings()), recordings()
    detector = Detector(folder, device="cpu", num_threads=1)
    for key, waveform in waveforms.items():
        served = detector.scores(waveform)
        np.testing.assert_allclose(served.frame_values, expected[key].frame_values, rtol=0, atol=PARITY_TOLERANCE)
        np.testing.assert_allclose(served.clip_values, expected[key].clip_values, rtol=0, atol=PARITY_TOLERANCE)
    for key, known in bundle.provenance["embedders"].items():
        digest = hashlib.sha256((tmp_path / f"{key}.pt").read_bytes()).hexdigest()
        assert known["file"] == f"{key}.pt" and known["sha256"] in (digest, None)
        assert known["sha256"] == digest or known["mode"] == "learning"


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a system that listens to a frozen Cnn14; its bundle lies beside it."""
    checkpoint = checkpoint_of("frame", tmp_path_factory.mktemp("frozen"))
    export(checkpoint)
    return checkpoint


def test_the_answers_depend_on_sound_and_embedder(frozen: Path) -> None:
    """Without that, parity would prove nothing."""
    system = load_system(frozen)
    before = said_by_torch(system, recordings())
    assert np.ptp(before["long"].frame_values) > 0.1
    for buffer in system.ears.frozen["a"].network.buffers():
        buffer.zero_()
    after = said_by_torch(system, recordings())
    assert np.abs(before["long"].frame_values - after["long"].frame_values).max() > 100 * PARITY_TOLERANCE


def test_the_graph_holds_what_the_embedding_needs_and_no_more(frozen: Path) -> None:
    graph = onnx.load(frozen.parent / "bundle" / MODEL_FILE).graph
    convolutions = [node for node in graph.node if node.op_type == "Conv" and "conv_block" in node.name]
    assert {re.findall(r"conv_block(\d)", node.name)[0] for node in convolutions} == {"1", "2", "3"}


def test_without_the_weights_of_stored_embeddings_there_is_no_bundle(tmp_path: Path) -> None:
    checkpoint = checkpoint_of("stored", tmp_path)
    (tmp_path / "b.pt").unlink()
    with pytest.raises(CheckpointError, match=r"b\.pt: the weights of an embedder are not there, .* put the file back"):
        export(checkpoint)
    assert not (tmp_path / "bundle").exists()


def test_it_is_served_like_any_other(frozen: Path, tmp_path: Path) -> None:
    """A server of its own, asked once; it has never seen the embedder's file."""
    waveform = recordings()["long"]
    write_waveform(tmp_path / "long.wav", waveform, 16_000)
    port_file = tmp_path / "port"
    bundle = frozen.parent / "bundle"
    command = [sys.executable, "-m", "serving", "--bundle", str(bundle), "--port", "0", "--port-file", str(port_file)]
    root = Path(__file__).resolve().parent.parent
    flags = ["--device", "cpu", "--set", "num_threads=1"]
    with subprocess.Popen([*command, *flags], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as server:
        try:
            deadline = time.monotonic() + 120
            while not port_file.exists():
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
            url = f"http://127.0.0.1:{int(port_file.read_text())}/v1/events"
            answer = httpx.post(url, content=(tmp_path / "long.wav").read_bytes(), timeout=60).json()
        finally:
            server.terminate()
    expected = Detector(bundle, device="cpu", num_threads=1).detect(waveform)
    assert answer["audio"]["duration"] == 7.3
    found = [(event["label"], event["onset"], event["offset"]) for event in answer["events"]]
    assert found and found == [(event.event_label, event.onset, event.offset) for event in expected]
