"""Fixtures that every test may use, and what a skip means in continuous integration.

With CI set, a test that skips because a package is missing (`pytest.importorskip`), or because of real recordings that
lie there after all, fails: an oracle that is never asked proves nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    # Test processes side by side share the cores: torch and numpy are told before anything imports them.
    _SHARE = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    os.environ.setdefault("OMP_NUM_THREADS", str(_SHARE))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and published answers, which live beside the project and are never part of it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the folder ../shared/data with real recordings is not there")
    return SHARED_DATA


@pytest.fixture(scope="module", autouse=True)
def _threads_as_before() -> Iterator[None]:
    """A training sets torch's number of threads for the whole process; torch need not be there."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 0
    yield
    if torch is not None:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def one_thread() -> None:
    """torch on one thread until the module ends: small products only wait for one another on several."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def project() -> Path:
    """The repository's root."""
    return PROJECT


def in_continuous_integration() -> bool:
    """Whether a missing oracle package is a failure and not a skip: CI is set, and not to a word for no."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test, or one of its fixtures, was skipped."""
    report = yield
    if call.excinfo is not None and not hasattr(report, "wasxfail"):
        _fail_hollow_skip(report, call.excinfo)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """A whole file was skipped, by an `importorskip` on its first lines."""
    report = yield
    call = getattr(report, "call", None)
    if call is not None and call.excinfo is not None:
        _fail_hollow_skip(report, call.excinfo)
    return report


def _fail_hollow_skip(
    report: pytest.TestReport | pytest.CollectReport, raised: pytest.ExceptionInfo[BaseException]
) -> None:
    if not (report.skipped and in_continuous_integration()):
        return
    missing_package = any(entry.name == "importorskip" for entry in raised.traceback)
    overlooked_data = "shared" in str(raised.value) and SHARED_DATA.is_dir()
    if missing_package or overlooked_data:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not accept: {raised.value}"


@pytest.fixture(scope="session")
def tiny_model() -> bytes:
    """An ONNX graph that keeps a bundle's contract and needs no training: how loud is each 64 ms frame at 16 kHz?

    waveform (batch, samples) -> strong (batch, frames, 2): sigmoid(40 rms - 4) for `loud`, the opposite for `quiet`;
    weak (batch, 2): the largest of the frames.
    """
    from onnx import TensorProto, helper, numpy_helper

    frame_samples = 1024
    value = helper.make_tensor_value_info
    constants = {
        "one": np.array([1], dtype=np.int64),
        "slopes": np.array([40.0, -40.0], dtype=np.float32).reshape(2, 1, 1),
        "offsets": np.array([-4.0, 4.0], dtype=np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["waveform", "waveform"], ["power"]),
        helper.make_node("Unsqueeze", ["power", "one"], ["channel_power"]),
        helper.make_node(
            "AveragePool", ["channel_power"], ["energy"], kernel_shape=[frame_samples], strides=[frame_samples]
        ),
        helper.make_node("Sqrt", ["energy"], ["rms"]),
        helper.make_node("Conv", ["rms", "slopes", "offsets"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        helper.make_node("Transpose", ["probabilities"], ["strong"], perm=[0, 2, 1]),
        helper.make_node("ReduceMax", ["strong", "one"], ["weak"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "loudness",
        [value("waveform", TensorProto.FLOAT, ["batch", "samples"])],
        [
            value("strong", TensorProto.FLOAT, ["batch", "frames", 2]),
            value("weak", TensorProto.FLOAT, ["batch", 2]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def tiny_bundle(tiny_model: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle around `tiny_model`: windows of 10 s that share 10 frames, no median filter."""
    from desed_task.bundle import Bundle, write_bundle
    from desed_task.labels import LabelSet
    from desed_task.postprocessing.pipeline import PostProcessingOptions
    from desed_task.timeline import FrameGrid
    from desed_task.windowing import Windowing

    bundle = Bundle(
        model_id="tiny",
        version="1",
        labels=LabelSet(["loud", "quiet"]),
        windowing=Windowing(FrameGrid(16000, 256, 4), window_seconds=10.0, overlap_frames=10),
        postprocessing=PostProcessingOptions(median_filter_seconds=0.0, threshold=0.5),
        provenance={"licence": "MIT"},
    )
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(bundle, tiny_model, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tagger's bundle: no frames, and a graph that hears nothing but chunks of 1 s at 16 kHz.

    waveform (batch, 16000) -> weak (batch, 3): sigmoid of 40 rms - 4 for `loud`, of the opposite for `quiet`, and of -9
    for `never`. Chunks lie 0.5 s apart, tails are repeated, and clips have the mean logit.
    """
    from onnx import TensorProto, helper, numpy_helper

    from desed_task.bundle import Bundle, write_bundle
    from desed_task.chunking import Chunking
    from desed_task.labels import LabelSet
    from desed_task.postprocessing.pipeline import PostProcessingOptions
    from desed_task.timeline import FrameGrid

    value = helper.make_tensor_value_info
    constants = {
        "one": np.array([1], dtype=np.int64),
        "slopes": np.array([[40.0, -40.0, 0.0]], dtype=np.float32),
        "offsets": np.array([[-4.0, 4.0, -9.0]], dtype=np.float32),
    }
    nodes = [
        helper.make_node("Mul", ["waveform", "waveform"], ["power"]),
        helper.make_node("ReduceMean", ["power", "one"], ["energy"], keepdims=1),
        helper.make_node("Sqrt", ["energy"], ["rms"]),
        helper.make_node("Mul", ["rms", "slopes"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offsets"], ["weak_logits"]),
        helper.make_node("Sigmoid", ["weak_logits"], ["weak"]),
    ]
    graph = helper.make_graph(
        nodes,
        "loudness",
        [value("waveform", TensorProto.FLOAT, ["batch", 16000])],
        [value(name, TensorProto.FLOAT, ["batch", 3]) for name in ("weak", "weak_logits")],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    bundle = Bundle(
        model_id="tiny tagger",
        version="1",
        labels=LabelSet(["loud", "quiet", "never"]),
        windowing=Chunking(FrameGrid(16000, 160, 1), window_seconds=1.0, hop_seconds=0.5),
        postprocessing=PostProcessingOptions(),
        has_frames=False,
        fixed_view=True,
    )
    folder = tmp_path_factory.mktemp("bundles") / "tagger"
    write_bundle(bundle, bytes(model.SerializeToString()), folder)
    return folder


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small CRNN that has really learnt to tell two sounds: `hum` (a low tone) and `hiss` (noise).

    A random network answers nearly the same to everything, so nothing could be compared with it.
    """
    import torch

    from desed_task import experiment
    from desed_task.options import check_options

    options = check_options(_small_options(), experiment.SedOptions)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    student, ears = experiment.build_model(options), experiment.build_ears(options)
    optimiser = torch.optim.Adam(student.parameters(), lr=0.01)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # such small products only wait for one another, for minutes on a busy machine
    for _ in range(80):
        waveforms, targets = _hum_and_hiss(rng, experiment.build_grid(options).frame_samples)
        optimiser.zero_grad()
        strong = student(ears(torch.from_numpy(waveforms))).strong_probs
        torch.nn.functional.binary_cross_entropy(strong, torch.from_numpy(targets)[:, : strong.shape[1]]).backward()
        optimiser.step()
    torch.set_num_threads(num_threads)
    weights = student.state_dict()
    checkpoint = {
        "sed_student": weights,
        "sed_teacher": {name: (0.95 * values).to(values.dtype) for name, values in weights.items()},
        "desed_task": experiment.describe(options),
    }
    path = tmp_path_factory.mktemp("checkpoints") / "small.ckpt"
    torch.save(checkpoint, path)
    return path


def _small_options() -> dict[str, Any]:
    corpus = {"name": "soundscapes", "root": "nowhere", "part": "test"}
    return {
        "labels": ["hum", "hiss"],
        "features": {"n_window": 1024, "hop_length": 512, "n_mels": 32},
        "model": {
            "nb_filters": [8, 16, 16],
            "pooling": [[2, 4], [1, 4], [1, 2]],
            "dropout": 0.0,
            "batch_norm_momentum": 0.3,
            "n_rnn_cell": 16,
            "rnn_layers": 2,
        },
        "data": {
            "train": [{"corpus": corpus, "supervision": "strong", "batch_size": 1}],
            "validation": [{"corpus": corpus}],
            "test": {"corpus": corpus},
        },
        "postprocessing": {"median_filter_seconds": 0.448, "threshold": {"hum": 0.5, "hiss": 0.4}},
    }


def _hum_and_hiss(rng: np.random.Generator, frame_samples: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Eight clips of 2 s at 16 kHz and their targets (8, frames, 2), each sound in about half of each clip."""
    time_axis = np.arange(32_000) / 16_000
    onset, length = rng.uniform(0, 1.5, (8, 2, 1)), rng.uniform(0.3, 1.5, (8, 2, 1))
    active = (time_axis >= onset) & (time_axis < onset + length)
    hum = 0.2 * np.sin(2 * np.pi * rng.uniform(150, 500, (8, 1)) * time_axis)
    hiss = 0.05 * rng.normal(size=(8, 32_000))
    waveforms = active[:, 0] * hum + active[:, 1] * hiss + 0.001 * rng.normal(size=(8, 32_000))
    targets = active[:, :, frame_samples // 2 :: frame_samples].transpose(0, 2, 1)
    return waveforms.astype(np.float32), targets.astype(np.float32)
