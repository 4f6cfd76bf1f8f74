"""Stored embeddings: every layout read by us and as the DESED baselines read it, and every mismatch refused."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from desed_task.clips import Clip, ClipSet, join_clip_sets
from desed_task.embeddings.layouts import LayoutName
from desed_task.embeddings.origin import Origin, Recording, recording_of
from desed_task.embeddings.pooling import Listener, pooling_of
from desed_task.embeddings.store import StoredForm, file_name_of, open_embeddings, store_path
from desed_task.embeddings.store_file import Clock, Contents, write_store
from desed_task.errors import CorpusError
from desed_task.features.logmel import LogMelOptions
from desed_task.models.embedding import EmbeddingShape

FRAMES, DIM = 5, 3
FORM = StoredForm("frame", FRAMES, DIM, is_timed=True)
GLOBAL = StoredForm("global", 1, 4, is_timed=False)
ORIGIN = Origin({"features": {"name": "panns", "sample_rate": 16000}, "model": {"width": 1.0}}, "ab" * 32, 10.0)


def clips_of(folder: Path, name: str = "set", count: int = 4) -> ClipSet:
    """Recordings that nobody decodes here: a few bytes each."""
    paths = [folder / name / f"{name}_{number}.wav" for number in range(count)]
    paths[0].parent.mkdir(exist_ok=True)
    for path in paths:
        path.write_bytes(path.name.encode())
    return ClipSet(name, tuple(Clip(path.stem, path, 10.0) for path in paths), "none")


def frames_of(count: int, frames: int = FRAMES, dim: int = DIM) -> NDArray[np.float32]:
    """(clips, embedding_frames, dim): 100 clip + 10 frame + value."""
    clip, frame, value = np.ogrid[:count, :frames, :dim]
    return (100 * clip + 10 * frame + value).astype(np.float32)


def globals_of(count: int) -> NDArray[np.float32]:
    """(clips, dim): 100 clip + value + .5."""
    return frames_of(count, 1, 4)[:, 0] + np.float32(0.5)


def write_2022(path: Path, names: list[str], frames: NDArray[np.float32], whole: NDArray[np.float32]) -> None:
    """As the published script of 2022: entries of any length, attributes as the index."""
    with h5py.File(path, "w") as file:
        kind = h5py.vlen_dtype(np.dtype("float32"))
        ours = file.create_dataset("global_embeddings", (len(names),), dtype=kind)
        theirs = file.create_dataset("frame_embeddings", (len(names), frames.shape[2]), dtype=kind)
        for row, name in enumerate(names):
            ours[row], ours.attrs[name] = whole[row], row
            theirs[row], theirs.attrs[name] = frames[row].T, row


def write_2023(path: Path, names: list[str], frames: NDArray[np.float32], whole: NDArray[np.float32]) -> None:
    """As the published script of 2023: arrays, and names beside them."""
    with h5py.File(path, "w") as file:
        file.create_dataset("global_embeddings", data=whole)
        file.create_dataset("frame_embeddings", data=frames.transpose(0, 2, 1))
        names_there = file.create_dataset("filenames", data=["example_00.wav"] * len(names))
        for row, name in enumerate(names):
            names_there[row] = name


PUBLISHED: Mapping[str, Callable[..., None]] = {"2022": write_2022, "2023": write_2023}


def write_ours(folder: Path, clip_set: ClipSet, layout: LayoutName, output: str = "frame", **blocks: Any) -> Path:
    """A store of ours, in blocks of 3 clips and fewer."""
    path = store_path(folder, clip_set.name)
    blocks = blocks or {"frame": frames_of(len(clip_set.clips)), "global": globals_of(len(clip_set.clips))[:, None]}
    parts = [{name: values[first : first + 3] for name, values in blocks.items()} for first in (0, 3)]
    recordings = {clip.audio_id: recording_of(clip.path) for clip in clip_set.clips}
    contents = Contents(output, Clock(0.08, 0.32), ORIGIN)
    write_store(path, layout, contents, recordings, [part for part in parts if len(part["frame"])])  # type: ignore[misc]
    return path


def read(folder: Path, clip_set: ClipSet, form: StoredForm = FORM) -> NDArray[np.float32]:
    """All clips, the last first."""
    names = [clip.audio_id for clip in reversed(clip_set.clips)]
    values: NDArray[np.float32] = open_embeddings(folder, clip_set, form).read(names).values.numpy()
    return values[::-1]


@pytest.mark.parametrize("year", PUBLISHED)
def test_published_files_are_read(tmp_path: Path, year: str) -> None:
    clip_set = clips_of(tmp_path)
    names = [clip.audio_id for clip in clip_set.clips]
    PUBLISHED[year](tmp_path / "set.hdf5", names[::-1], frames_of(4)[::-1], globals_of(4)[::-1])
    assert np.array_equal(read(tmp_path, clip_set), frames_of(4))
    assert np.array_equal(read(tmp_path, clip_set, GLOBAL), globals_of(4)[:, None])
    heard = open_embeddings(tmp_path, clip_set, GLOBAL).read(names[1:3])
    assert (heard.is_timed, heard.values.dtype, tuple(heard.values.shape)) == (False, torch.float32, (2, 1, 4))


def test_what_we_write_for_2022_its_reader_reads(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    with h5py.File(write_ours(tmp_path, clip_set, "2022"), "r") as file:
        row = file["frame_embeddings"].attrs["set_2"]
        assert np.array_equal(np.stack(file["frame_embeddings"][row]), frames_of(4)[2].T)
        assert file["frame_embeddings"].shape == (4, DIM)
        assert np.array_equal(file["global_embeddings"][file["global_embeddings"].attrs["set_3"]], globals_of(4)[3])
    assert np.array_equal(read(tmp_path, clip_set), frames_of(4))
    assert np.array_equal(read(tmp_path, clip_set, GLOBAL), globals_of(4)[:, None])


def test_what_we_write_for_2023_its_reader_reads(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    with h5py.File(write_ours(tmp_path, clip_set, "2023"), "r") as file:
        rows = {name.decode("UTF-8"): row for row, name in enumerate(file["filenames"])}
        assert rows == {"set_0": 0, "set_1": 1, "set_2": 2, "set_3": 3}
        assert np.array_equal(file["frame_embeddings"][2], frames_of(4)[2].T)
        assert np.array_equal(file["global_embeddings"][3], globals_of(4)[3])
        assert file["frame_embeddings"].dtype == file["global_embeddings"].dtype == np.float32
    assert np.array_equal(read(tmp_path, clip_set), frames_of(4))
    assert np.array_equal(read(tmp_path, clip_set, GLOBAL), globals_of(4)[:, None])


def test_a_compact_file_holds_half_as_much_and_says_what_it_is(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    with h5py.File(write_ours(tmp_path, clip_set, "compact"), "r") as file:
        assert file["embeddings"].dtype == np.float16 and file["embeddings"].shape == (4, FRAMES, DIM)
        assert (file.attrs["output"], bool(file.attrs["is_timed"])) == ("frame", True)
        assert (file.attrs["first_seconds"], file.attrs["step_seconds"]) == (0.08, 0.32)
        assert file.attrs["weights_sha256"] == "ab" * 32
    assert np.array_equal(read(tmp_path, clip_set), frames_of(4))


def test_frames_of_a_published_ast_are_means_over_frequency(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path, count=1)
    tokens = np.full((1, 2 + 12 * FRAMES, DIM), 1e6, dtype=np.float32)
    #                   12 patches of each time, frequency by frequency: 10 frequency + 1000 time + value
    frequency, time, value = np.ogrid[:12, :FRAMES, :DIM]
    tokens[0, 2:] = (10 * frequency + 1000 * time + value).reshape(-1, DIM)
    write_2022(tmp_path / "set.hdf5", ["set_0"], tokens, globals_of(1))
    expected = 55 + 1000 * np.arange(FRAMES)[:, None] + np.arange(DIM)
    assert np.allclose(read(tmp_path, clip_set)[0], expected)
    as_tokens = read(tmp_path, clip_set, StoredForm("tokens", 2 + 12 * FRAMES, DIM, is_timed=False))
    assert np.array_equal(as_tokens, tokens)


def test_a_store_of_tokens_says_so_and_frames_are_made_of_them(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path, count=1)
    write_ours(tmp_path, clip_set, "2023", "tokens", frame=np.ones((1, 2 + 12 * FRAMES, DIM), np.float32))
    assert np.array_equal(read(tmp_path, clip_set), np.ones((1, FRAMES, DIM)))


def test_more_frames_than_the_detectors_are_pooled_in_reading(tmp_path: Path) -> None:
    # Two embedding frames per frame of 4 mel frames: middles at mel frames .5, 2.5 | 4.5, 6.5.
    shape = EmbeddingShape(4, 2, step=2.0, first=0.5)
    pooling = pooling_of(shape, Listener(LogMelOptions(), time_pooling=4, frames=2))
    assert pooling is not None
    form = StoredForm("frame", 2, 2, True, pooling=pooling)
    clip_set = clips_of(tmp_path, count=1)
    values = np.array([[[0, 8], [2, 6], [4, 4], [6, 2]]], dtype=np.float32)
    write_2023(tmp_path / "set.hdf5", ["set_0"], values, globals_of(1))
    assert np.allclose(read(tmp_path, clip_set, form), [[[1, 7], [5, 3]]])
    write_2023(tmp_path / "set.hdf5", ["set_0"], np.array([[[1, 7], [5, 3]]], dtype=np.float32), globals_of(1))
    assert np.allclose(read(tmp_path, clip_set, form), [[[1, 7], [5, 3]]])
    assert pooling_of(shape, Listener(LogMelOptions(), 4, 4)) is None
    assert pooling_of(EmbeddingShape(4, 2), Listener(LogMelOptions(), 4, 2)) is None


def test_parts_of_desed_have_their_published_names(tmp_path: Path) -> None:
    names = ("synthetic_train", "weak_train", "unlabeled", "weak_validation", "synthetic_validation", "strong_real")
    published = ["synth_train", "weak_train", "unlabeled_train", "weak_val", "synth_val", "strong_train"]
    assert [file_name_of(f"desed_{name}") for name in names] == published
    assert store_path(tmp_path, "desed_validation") == tmp_path / "devtest.hdf5"
    assert store_path(tmp_path, "barn") == tmp_path / "barn.hdf5"


def test_a_joined_set_reads_the_file_of_each_part(tmp_path: Path) -> None:
    barn, yard = clips_of(tmp_path, "barn", 4), clips_of(tmp_path, "yard", 3)
    write_ours(tmp_path, barn, "compact")
    write_ours(tmp_path, yard, "2023", frame=1000 + frames_of(3))
    joined = open_embeddings(tmp_path, join_clip_sets([barn, yard]), FORM)
    values = joined.read(["yard_2", "barn_1", "yard_0", "yard_2"]).values
    assert values[:, 0, 0].tolist() == [1200, 100, 1000, 1200]


def test_a_selection_of_a_set_needs_its_own_clips_alone(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set.select([2, 3]), "compact", frame=frames_of(4)[2:])
    assert np.array_equal(read(tmp_path, clip_set.select([3])), frames_of(4)[3:])


@pytest.mark.parametrize("layout", ["compact", "2022", "2023"])
def test_threads_and_processes_read_at_once_and_no_file_stays_open(tmp_path: Path, layout: LayoutName) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, layout)
    reader = open_embeddings(tmp_path, clip_set, FORM)

    def sums(number: int) -> float:
        return float(reader.read([f"set_{number % 4}"]).values.sum())

    expected = [sums(number) for number in range(4)]
    assert not open_stores()
    with ThreadPoolExecutor(4) as pool:
        busy = pool.map(sums, range(200))
        context = multiprocessing.get_context("fork")
        with context.Pool(2) as forked:
            assert forked.map(sums_of(reader), range(8)) == expected * 2
        assert list(busy) == expected * 50
    assert not open_stores()
    again = pickle.loads(pickle.dumps(reader))
    assert again.fingerprint == reader.fingerprint


def open_stores() -> list[str]:
    """Files of embeddings that this process holds open."""
    links = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    return [link for link in links if link.endswith(".hdf5")]


class sums_of:  # noqa: N801  a function that can be pickled
    def __init__(self, reader: Any) -> None:
        self.reader = reader

    def __call__(self, number: int) -> float:
        return float(self.reader.read([f"set_{number % 4}"]).values.sum())


def test_the_fingerprint_is_of_the_clips_and_the_values(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, "compact")
    first = open_embeddings(tmp_path, clip_set, FORM).fingerprint
    assert open_embeddings(tmp_path, clip_set, FORM).fingerprint == first
    assert open_embeddings(tmp_path, clip_set.select([0, 1, 2]), FORM).fingerprint != first
    write_ours(tmp_path, clip_set, "2023")
    assert open_embeddings(tmp_path, clip_set, FORM).fingerprint == first  # no value differs
    write_ours(tmp_path, clip_set, "compact", frame=frames_of(4) + 1)
    assert open_embeddings(tmp_path, clip_set, FORM).fingerprint != first


def refusal(folder: Path, clip_set: ClipSet, form: StoredForm = FORM) -> str:
    with pytest.raises(CorpusError) as refused:
        read(folder, clip_set, form)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_missing_file_is_refused_with_the_command_that_makes_it(tmp_path: Path) -> None:
    message = refusal(tmp_path / "ast", clips_of(tmp_path))
    assert f"{tmp_path / 'ast' / 'set.hdf5'}: no embeddings of set" in message
    assert f"recipes/extract_embeddings.py --conf_file CONF --output_dir {tmp_path} --sets set" in message


def test_missing_clips_are_refused_with_one_of_them_and_how_many(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set.select([0, 2]), "compact", frame=frames_of(2))
    message = refusal(tmp_path, clip_set)
    assert "2 of the 4 clips of set are not in it, such as set_1" in message and "--overwrite" in message


def test_scenes_that_are_made_online_have_no_store(tmp_path: Path) -> None:
    assert "take mode frozen" in refusal(tmp_path, ClipSet("online", (), "strong"))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (ORIGIN._replace(weights="cd" * 32), "weights abababababab for cdcdcdcdcdcd (SHA-256)"),
        (ORIGIN._replace(clip_seconds=5.0), "clips of 10 s for 5 s"),
        (
            ORIGIN._replace(embedder={**ORIGIN.embedder, "features": {"name": "panns", "sample_rate": 32000}}),
            "features.sample_rate 16000 for 32000",
        ),
    ],
)
def test_another_embedder_is_refused_and_named(tmp_path: Path, other: Origin, words: str) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, "compact")
    message = refusal(tmp_path, clip_set, FORM._replace(origin=other))
    assert f"made by another embedder than the conf's ({words})" in message


def test_an_embedder_of_unknown_weights_is_taken_at_its_word(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, "compact")
    for origin in (ORIGIN, ORIGIN._replace(weights=""), ORIGIN._replace(embedder={**ORIGIN.embedder, "new": 1})):
        assert read(tmp_path, clip_set, FORM._replace(origin=origin)).shape == (4, FRAMES, DIM)


def test_another_output_of_the_same_shape_is_refused(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, "compact", "segments")
    assert "holds output segments of its embedder, the conf listens to frame" in refusal(tmp_path, clip_set)


@pytest.mark.parametrize("layout", ["compact", "2022", "2023"])
def test_another_shape_is_refused(tmp_path: Path, layout: LayoutName) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, layout, frame=frames_of(4, FRAMES + 1))
    assert f"holds {DIM} values x {FRAMES + 1} embedding frames" in refusal(tmp_path, clip_set)
    write_ours(tmp_path, clip_set, layout, frame=frames_of(4, dim=DIM + 1))
    assert f"holds {DIM + 1} values x {FRAMES} embedding frames" in refusal(tmp_path, clip_set)


def test_clips_of_several_lengths_are_refused(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    names = [clip.audio_id for clip in clip_set.clips]
    write_2022(tmp_path / "set.hdf5", names, frames_of(4), globals_of(4))
    with h5py.File(tmp_path / "set.hdf5", "a") as file:
        file["frame_embeddings"][2] = frames_of(4, FRAMES - 1)[2].T
    assert "not readable as stored embeddings" in refusal(tmp_path, clip_set)


def test_an_embedding_of_the_clip_that_is_not_there_is_refused(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, "2023", frame=frames_of(4))
    assert "holds no global_embeddings, which output global is read from" in refusal(tmp_path, clip_set, GLOBAL)


def test_recordings_that_changed_since_are_refused(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, "compact")
    os.utime(clip_set.clips[1].path, ns=(1, 1))  # copied, say
    read(tmp_path, clip_set)
    clip_set.clips[1].path.write_bytes(b"SET_1.wav")
    message = refusal(tmp_path, clip_set)
    assert "1 of the 4 recordings of set changed since it was extracted" in message and "set_1.wav" in message


@pytest.mark.parametrize("keep", [0, 1, 900, 4096, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    clip_set = clips_of(tmp_path)
    path = write_ours(tmp_path, clip_set, "compact")
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert f"{path}: not readable as stored embeddings" in refusal(tmp_path, clip_set)


def test_other_files_are_refused(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    (tmp_path / "set.hdf5").write_bytes(b"RIFF" + bytes(5000))
    assert "not readable as stored embeddings" in refusal(tmp_path, clip_set)
    with h5py.File(tmp_path / "set.hdf5", "w") as file:
        file["mel"] = np.zeros(3)
    assert "none of the layouts compact, 2022, 2023: it holds mel" in refusal(tmp_path, clip_set)


def test_a_file_that_is_replaced_while_it_is_in_use_is_refused(tmp_path: Path) -> None:
    clip_set = clips_of(tmp_path)
    write_ours(tmp_path, clip_set, "compact")
    reader = open_embeddings(tmp_path, clip_set, FORM)
    write_ours(tmp_path, clip_set, "compact")
    with pytest.raises(CorpusError, match="changed while it was in use"):
        reader.read(["set_0"])


def test_a_recording_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = recording_of(tmp_path / "a")
    assert known == Recording(3, known.mtime_ns, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
