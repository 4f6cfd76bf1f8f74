"""Bundle: what leaves training. A folder with `model.onnx` and `bundle.json`, enough to hear without any training code.

The graph keeps `graph_contract`: waveforms in, probabilities out. `bundle.json` holds what the graph cannot say: who
the model is, its labels in the order of the class axis, its clocks, its view (how recordings of any length are cut),
the post-processing that was measured with it, where it comes from, and the sha256 of the graph.

A bundle of overlapping windows with frames and any length is written in format 1, which every version of this code
reads; anything else (chunks, no frames, a fixed view) in format 2, so that older code says that it is too old.

A bundle is written whole or not at all, and read only when everything in it fits together; anything else is a
`BundleError` of one sentence.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, JsonValue

from desed_task.chunking import Chunking
from desed_task.errors import BundleError, DesedTaskError
from desed_task.graph_contract import STRONG_NAME, WEAK_LOGITS_NAME, WEAK_NAME, FixedAxes, check_contract
from desed_task.labels import LabelSet
from desed_task.options import Options, check_options
from desed_task.postprocessing.pipeline import PostProcessingOptions, build_postprocessing
from desed_task.timeline import FrameGrid
from desed_task.views import ChunkingOptions, View, WindowingOptions, build_view, describe_view
from desed_task.windowing import Windowing

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "bundle.json"
FORMAT_VERSIONS = (1, 2)

_CHECKPOINT_SUFFIXES = {".ckpt", ".pt", ".pth"}
_EXPORT_COMMAND = "python recipes/export_onnx.py --checkpoint {checkpoint} --output DIR"


@dataclass(frozen=True)
class Bundle:
    """What `bundle.json` says.

    model_id and version name the model; provenance: where it comes from (resolved conf, code version, checkpoint, date,
    parity figures, licence), plain JSON values; sha256: of `model.onnx`, filled in when the bundle is written.
    has_frames: whether the graph gives frame scores; fixed_view: whether it hears only windows of the view's length.
    """

    model_id: str
    version: str
    labels: LabelSet
    windowing: View
    postprocessing: PostProcessingOptions
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    has_frames: bool = True
    fixed_view: bool = False

    @property
    def grid(self) -> FrameGrid:
        """The clocks of the model."""
        return self.windowing.grid

    @property
    def sample_rate(self) -> int:
        """Samples per second that the graph expects."""
        return self.grid.sample_rate

    @property
    def output_names(self) -> tuple[str, ...]:
        """The outputs of the graph; `weak_logits` is one where the view pools logits."""
        frames = (STRONG_NAME,) if self.has_frames else ()
        return (*frames, WEAK_NAME, *((WEAK_LOGITS_NAME,) if self.has_logits else ()))

    @property
    def has_logits(self) -> bool:
        """Whether the graph gives clip logits too, since the view pools them."""
        return isinstance(self.windowing, Chunking)

    @property
    def format_version(self) -> int:
        """The oldest layout of `bundle.json` that can say it."""
        return 1 if isinstance(self.windowing, Windowing) and self.has_frames and not self.fixed_view else 2


class _ModelSection(Options):
    id: str = Field(description="name of the model", min_length=1)
    version: str = Field(description="version of the model", min_length=1)
    sha256: str = Field(description="sha256 of model.onnx", pattern="^[0-9a-f]{64}$")
    has_frames: bool = Field(True, description="whether the graph gives frame scores")
    fixed_view: bool = Field(False, description="whether the graph hears only windows of exactly window_seconds")


class _GridSection(Options):
    sample_rate: int = Field(description="samples per second", ge=1)
    hop_length: int = Field(description="samples per mel frame", ge=1)
    time_pooling: int = Field(description="mel frames per frame", ge=1)
    first_frame_center: float | None = Field(description="seconds to the middle of frame 0; null: half a frame")


class _Manifest(Options):
    """`bundle.json`, key for key; its view is one of two."""

    format_version: int = Field(description="layout of this file")
    model: _ModelSection = Field(description="which model this is")
    labels: list[str] = Field(description="class names in the order of the class axis")
    grid: _GridSection = Field(description="the clocks of the model")
    postprocessing: PostProcessingOptions = Field(description="scores -> events and tags")
    provenance: dict[str, JsonValue] = Field(description="where the model comes from")


class _WindowedManifest(_Manifest):
    windowing: WindowingOptions = Field(description="the view of the model")


class _ChunkedManifest(_Manifest):
    windowing: ChunkingOptions = Field(description="the view of the model")


def write_bundle(bundle: Bundle, model_bytes: bytes, folder: Path) -> Bundle:
    """Write `bundle` and its graph to `folder`, whole or not at all; returns the bundle with its sha256.

    An older bundle in `folder` is replaced; BundleError when something else stands there, when the graph does not fit
    the contract or the labels, or when the disk refuses.
    """
    bundle = replace(bundle, sha256=hashlib.sha256(model_bytes).hexdigest())
    folder = folder.absolute()
    _refuse_foreign_folder(folder)
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / MODEL_FILE).write_bytes(model_bytes)
        (partial / MANIFEST_FILE).write_text(_manifest_text(bundle, folder), encoding="utf-8")
        written = read_bundle(partial)
        _replace_folder(folder, partial)
    except OSError as error:
        raise BundleError(f"{folder}: the bundle cannot be written ({error})") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return written


def read_bundle(folder: Path) -> Bundle:
    """Read and check the bundle in `folder`: files, JSON, sha256, and the graph against contract and labels.

    BundleError names what is wrong and what to do.
    """
    manifest = _read_manifest(folder)
    source = folder / MANIFEST_FILE
    try:
        bundle = Bundle(
            model_id=manifest.model.id,
            version=manifest.model.version,
            labels=LabelSet(manifest.labels),
            windowing=build_view(manifest.windowing, FrameGrid(**manifest.grid.model_dump())),
            postprocessing=manifest.postprocessing,
            provenance=manifest.provenance,
            sha256=manifest.model.sha256,
            has_frames=manifest.model.has_frames,
            fixed_view=manifest.model.fixed_view,
        )
        build_postprocessing(bundle.postprocessing, bundle.labels, bundle.grid)  # thresholds for unknown classes
    except (DesedTaskError, ValueError) as error:
        raise BundleError(f"{source}: {error}") from None
    _check_sha256(folder / MODEL_FILE, bundle.sha256)
    view = bundle.windowing
    fixed = FixedAxes(view.window_samples, view.window_frames) if bundle.fixed_view else None
    check_contract(folder / MODEL_FILE, len(bundle.labels), bundle.output_names, fixed)
    return bundle


def _read_manifest(folder: Path) -> _WindowedManifest | _ChunkedManifest:
    if folder.suffix in _CHECKPOINT_SUFFIXES:
        command = _EXPORT_COMMAND.format(checkpoint=folder)
        raise BundleError(f"{folder}: this is a checkpoint, not a bundle; export one with `{command}`")
    if folder.is_file():
        raise BundleError(f"{folder}: this is a file; a bundle is a folder with {MODEL_FILE} and {MANIFEST_FILE}")
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such bundle folder")
    for name in (MANIFEST_FILE, MODEL_FILE):
        if not (folder / name).is_file():
            command = _EXPORT_COMMAND.format(checkpoint="FILE")
            raise BundleError(f"{folder}: no {name} in it, so it is not a whole bundle; write one with `{command}`")
    source = folder / MANIFEST_FILE
    try:
        tree = json.loads(source.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BundleError(f"{source}: not valid JSON ({error}); export the bundle again") from None
    if not isinstance(tree, dict):
        raise BundleError(f"{source}: holds a {type(tree).__name__}, not an object; export the bundle again")
    if tree.get("format_version") not in FORMAT_VERSIONS:
        raise BundleError(
            f"{source}: format_version {tree.get('format_version')!r} is not the one this version reads "
            f"({' or '.join(map(str, FORMAT_VERSIONS))}); export the bundle again or use the version that wrote it"
        )
    return _check_manifest(tree, str(source))


def _check_manifest(tree: Mapping[str, Any], source: str) -> _WindowedManifest | _ChunkedManifest:
    view = tree.get("windowing")
    try:
        if isinstance(view, Mapping) and "hop_seconds" in view:
            return check_options(tree, _ChunkedManifest, default_origin=source)
        return check_options(tree, _WindowedManifest, default_origin=source)
    except DesedTaskError as error:
        raise BundleError(str(error)) from None


def _manifest_text(bundle: Bundle, folder: Path) -> str:
    model: dict[str, Any] = {"id": bundle.model_id, "version": bundle.version, "sha256": bundle.sha256}
    if bundle.format_version > 1:
        model |= {"has_frames": bundle.has_frames, "fixed_view": bundle.fixed_view}
    tree = {
        "format_version": bundle.format_version,
        "model": model,
        "labels": list(bundle.labels),
        "grid": asdict(bundle.grid),
        "windowing": describe_view(bundle.windowing),
        "postprocessing": json.loads(bundle.postprocessing.model_dump_json()),
        "provenance": dict(bundle.provenance),
    }
    _check_manifest(tree, f"{folder / MANIFEST_FILE}")
    return json.dumps(tree, indent=2) + "\n"


def _check_sha256(model: Path, expected: str) -> None:
    with model.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise BundleError(
            f"{model}: its sha256 is {found[:12]}..., {MANIFEST_FILE} says {expected[:12]}...; "
            "the file was changed or cut, fetch or export the bundle again"
        )


def _refuse_foreign_folder(folder: Path) -> None:
    if not folder.exists() or (folder / MANIFEST_FILE).is_file():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise BundleError(f"{folder}: stands there already and is not a bundle; name another --output")


def _replace_folder(folder: Path, partial: Path) -> None:
    """Put `partial` in the place of `folder`; what stood there is removed last."""
    old = folder.with_name(f"{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
