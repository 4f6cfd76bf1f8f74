"""Sessions: a graph opened in onnxruntime on the device that was asked for, and on no other.

`cpu` is the CPU; `cuda:N` (`cuda` is `cuda:0`) that GPU, and an error where CUDA cannot be used, unless the CPU is
allowed in its place; `auto` is CUDA where it can be used, else the CPU.

On CUDA products are computed in float32 and not in TF32, whose ten bits would let a window's scores depend on the batch
that it came in; convolutions take the algorithm that cuDNN's heuristics name, since a search costs the first call
minutes.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desed_task.errors import BundleError, OptionsError
from desed_task.onnx_runtime import onnxruntime

CPU_PROVIDER, CUDA_PROVIDER = "CPUExecutionProvider", "CUDAExecutionProvider"


@dataclass(frozen=True)
class Session:
    """A graph that is ready to run. graph: onnxruntime's session; device_id: of the GPU, 0 on the CPU."""

    graph: Any
    device_id: int
    cuda_graphs: bool

    @property
    def provider(self) -> str:
        """The onnxruntime provider that runs the graph, such as CPUExecutionProvider."""
        return str(self.graph.get_providers()[0])

    @property
    def on_cuda(self) -> bool:
        """Whether a GPU runs it."""
        return self.provider == CUDA_PROVIDER


def open_session(
    model: Path, device: str, num_threads: int | None, cuda_graphs: bool = False, allow_cpu: bool = False
) -> Session:
    """OptionsError when `device` is none; BundleError when it cannot be had or the graph cannot be loaded.

    num_threads: of one call on the CPU, all cores when None; cuda_graphs: record the work of a batch once, replay it.
    """
    device_id = _device_id(device)
    if device == "cpu" or (device == "auto" and num_cuda_devices() == 0):
        return Session(_load(model, [CPU_PROVIDER], num_threads), 0, False)
    # CUDA libraries that were installed as packages are found only when they are loaded first.
    onnxruntime.preload_dlls()
    may_replace = allow_cpu or device == "auto"
    try:
        graph = _load(model, [(CUDA_PROVIDER, _cuda_options(device_id, cuda_graphs)), CPU_PROVIDER], num_threads)
    except BundleError as error:
        if may_replace:
            return Session(_load(model, [CPU_PROVIDER], num_threads), 0, False)
        remedy = "; without `cuda_graphs` it may run" if cuda_graphs else ""
        raise BundleError(f"{error}{remedy}") from None
    if graph.get_providers()[0] == CUDA_PROVIDER:
        return Session(graph, device_id, cuda_graphs)
    if may_replace:
        return Session(graph, 0, False)
    raise BundleError(
        f"device {device}: onnxruntime fell back to the CPU; it needs the CUDA 13 and cuDNN 9 libraries and a driver "
        "(`pip install onnxruntime-gpu[cuda,cudnn]`), or choose device cpu"
    )


def num_cuda_devices() -> int:
    """CUDA devices that the driver shows; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def _device_id(device: str) -> int:
    kind, _, number = device.partition(":")
    if device not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdecimal()):
        raise OptionsError(f"device {device!r} is not auto, cpu or cuda:N")
    return int(number or 0)


def _cuda_options(device_id: int, cuda_graphs: bool) -> dict[str, Any]:
    return {
        "device_id": device_id,
        # New shapes must not double the memory that is held.
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "enable_cuda_graph": "1" if cuda_graphs else "0",
    }


def _load(model: Path, providers: list[Any], num_threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or 0
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        # enable_fallback=0: a device that fails later is an error, not a silent change to the CPU.
        return onnxruntime.InferenceSession(str(model), options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's errors share no base class of their own
        raise BundleError(f"{model}: onnxruntime cannot load it ({' '.join(str(error).split())})") from None
