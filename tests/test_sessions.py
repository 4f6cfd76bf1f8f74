"""Sessions: the device that was asked for, or a refusal; never another one in silence."""

from __future__ import annotations

from pathlib import Path

import pytest

from desed_task import sessions
from desed_task.bundle import MODEL_FILE
from desed_task.errors import BundleError
from desed_task.sessions import num_cuda_devices, open_session

without_cuda = pytest.mark.skipif(num_cuda_devices() > 0, reason="there is a CUDA device")


@without_cuda
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_the_cpu_takes_the_place_of_cuda_only_where_it_may(tiny_bundle: Path, cuda_graphs: bool) -> None:
    model = tiny_bundle / MODEL_FILE
    with pytest.raises(BundleError, match=r"device cuda:0|cannot load it"):
        open_session(model, "cuda:0", 1, cuda_graphs)
    allowed = open_session(model, "cuda:0", 1, cuda_graphs, allow_cpu=True)
    assert (allowed.provider, allowed.on_cuda, allowed.cuda_graphs) == ("CPUExecutionProvider", False, False)


@without_cuda
def test_auto_takes_the_cpu_where_a_device_shows_that_cannot_be_used(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "num_cuda_devices", lambda: 1)
    assert open_session(tiny_bundle / MODEL_FILE, "auto", 1).provider == "CPUExecutionProvider"


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match="onnxruntime cannot load it"):
        open_session(tmp_path / "model.onnx", "cpu", 1)
