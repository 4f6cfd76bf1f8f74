"""Sessions: the device that was asked for, or a refusal; never another one in silence."""

from __future__ import annotations

import os
import subprocess
import sys
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


def test_a_session_reports_to_nobody_and_marks_no_machine(tiny_bundle: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from desed_task.sessions import open_session; "
        "open_session(Path(sys.argv[1]), 'cpu', 1)"
    )
    # Where tests run as CI onnxruntime is silent by itself.
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle / MODEL_FILE)],
        env={**kept, **home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert list(tmp_path.rglob("*device*")) == []
