"""What another program extracted: patches become times, and clips that are not stored cannot be heard."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from desed_task.batch import Embedding
from desed_task.clips import Clip, ClipSet
from desed_task.embedders.build import build_embedders
from desed_task.embedders.options import EmbedderOptions
from desed_task.embeddings import extracted
from desed_task.embeddings.extracted import ExtractedEmbedder, ExtractedOptions, MeansOfPatches
from desed_task.embeddings.store import StoredForm
from desed_task.errors import OptionsError
from desed_task.features.logmel import LogMelOptions
from desed_task.options import Options, check_options

# As the DESED baselines of 2023 and 2024 extract BEATs: 62 times of 8 patches.
BEATS = {"frames": 62, "patches": 8, "dim": 768, "frame_seconds": 0.16, "first_frame_seconds": 0.0875}


def options(**keys: Any) -> ExtractedOptions:
    return ExtractedOptions(**({"store": Path("embeddings/beats")} | BEATS | keys))


class Counting:
    """Two times of three patches with two values: 0 1, 2 3, ... 10 11."""

    fingerprint = "counting"

    def read(self, audio_ids: Sequence[str]) -> Embedding:
        return Embedding(torch.arange(12.0).reshape(1, 6, 2).expand(len(audio_ids), -1, -1), is_timed=False)


def test_the_frames_are_the_means_of_the_patches_that_lie_side_by_side() -> None:
    embedding = MeansOfPatches(Counting(), patches=3, is_timed=True).read(["a", "b"])
    # patches of the first time: 0 1, 2 3, 4 5; of the second: 6 7, 8 9, 10 11
    assert embedding.values.tolist() == [[[2.0, 3.0], [8.0, 9.0]]] * 2
    assert embedding.is_timed
    assert MeansOfPatches(Counting(), 3, True).fingerprint != Counting.fingerprint


@pytest.mark.parametrize(
    ("output", "frames", "step", "stored"),
    [
        ("frame", 62, 10.0, StoredForm("tokens", 496, 768, False)),  # 160 ms, of 16 ms mel frames
        ("tokens", 496, None, StoredForm("tokens", 496, 768, False)),
        ("global", 1, None, StoredForm("global", 1, 768, False)),
    ],
)
def test_what_each_output_looks_like_and_what_is_read_for_it(
    output: str, frames: int, step: float | None, stored: StoredForm
) -> None:
    embedder = ExtractedEmbedder(options(output=output))
    shape = embedder.shape(LogMelOptions())
    assert (shape.frames, shape.dim) == (frames, 768)
    assert shape.step == (None if step is None else pytest.approx(step))
    assert shape.first == (0.0 if step is None else pytest.approx(87.5 / 16))
    assert embedder.stored_form() == stored


def test_frames_of_which_nothing_says_when_they_are_follow_no_time() -> None:
    embedder = ExtractedEmbedder(options(patches=1, frame_seconds=None))
    assert not embedder.shape(LogMelOptions()).is_timed
    assert embedder.stored_form() == StoredForm("frame", 62, 768, False)


@pytest.mark.parametrize(("output", "frames"), [("frame", 2), ("tokens", 6)])
def test_a_reader_gives_what_the_shape_promises(output: str, frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extracted, "open_embeddings", lambda *_: Counting())
    embedder = ExtractedEmbedder(options(output=output, frames=2, patches=3, dim=2))
    embedding = embedder.reader(ClipSet("any", (), "none")).read(["a"])
    shape = embedder.shape(LogMelOptions())
    assert embedding.values.shape[1:] == (shape.frames, shape.dim) == (frames, 2)
    assert embedding.is_timed == shape.is_timed


@pytest.mark.parametrize("output", ["frame", "tokens", "global"])
def test_a_store_as_the_baseline_of_2023_wrote_it_is_read(output: str, tmp_path: Path) -> None:
    """Names without endings; embedding frames on the last axis, the patches of one time side by side."""
    patches = np.random.default_rng(0).normal(size=(3, 496, 768)).astype(np.float32)
    with h5py.File(tmp_path / "devtest.hdf5", "w") as file:
        file.create_dataset("global_embeddings", data=patches.mean(axis=1))
        file.create_dataset("frame_embeddings", data=patches.transpose(0, 2, 1))
        file.create_dataset("filenames", data=["Ya_0_10", "Yb_0_10", "Yc_0_10"])
    clips = tuple(Clip(name, tmp_path / f"{name}.wav", 10.0) for name in ("Ya_0_10", "Yc_0_10"))
    embedder = ExtractedEmbedder(options(output=output, store=tmp_path))
    embedding = embedder.reader(ClipSet("desed_validation", clips, "strong")).read(["Yc_0_10"])
    expected = {
        "frame": patches[2].reshape(62, 8, 768).mean(axis=1),
        "tokens": patches[2],
        "global": patches[2].mean(axis=0, keepdims=True),
    }
    np.testing.assert_allclose(embedding.values[0].numpy(), expected[output], atol=1e-6)
    assert embedding.is_timed == (output == "frame")


@pytest.mark.parametrize("part", ["hearing", "network", "trained_network", "embedder"])
def test_there_is_no_network_and_the_store_is_named(part: str) -> None:
    with pytest.raises(OptionsError, match=r"embeddings/beats was extracted with is not here, .* take one with a net"):
        getattr(ExtractedEmbedder(options()), part)()


class _Conf(Options):
    embedder: EmbedderOptions


def test_a_conf_names_it_and_its_mode_is_stored_only() -> None:
    tree: dict[str, Any] = {"name": "extracted", "store": "embeddings/beats", **BEATS}
    read = check_options({"embedder": tree}, _Conf).embedder
    assert isinstance(build_embedders({"beats": read}, 16_000, 10.0)["beats"], ExtractedEmbedder)
    with pytest.raises(OptionsError, match="mode"):
        check_options({"embedder": tree | {"mode": "frozen"}}, _Conf)
    with pytest.raises(OptionsError, match="mode stored needs store"):
        check_options({"embedder": tree | {"store": None}}, _Conf)
