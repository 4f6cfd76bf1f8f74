"""Stored embeddings of the clips of a set, one HDF5 file per corpus part: <folder>/<set>.hdf5.

Parts of DESED have their published names there (`file_name_of`), other sets their own; a set that joins corpora reads
the file of each. Files are opened for every read and closed again, which takes 0.2 ms: nothing is held that a thread
or a forked process could trip over, and no number of sets needs many file handles.

In published files of AST, `frame_embeddings` are all 1214 tokens: 2 special ones and 12 x 101 patches, frequency by
frequency. Where its output `frame` is wanted, these are averaged over frequency here, as the network itself would.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from desed_task.batch import Embedding
from desed_task.clips import ClipSet
from desed_task.embeddings.layouts import Layout, Part, layout_of
from desed_task.embeddings.origin import Origin, is_unchanged
from desed_task.embeddings.pooling import Pooling
from desed_task.embeddings.reading import EmbeddingReader
from desed_task.embeddings.store_file import opened, read_contents, read_recordings
from desed_task.errors import CorpusError

# ClipSet.name -> name of the file, where the DESED baselines (2022-2024) have one.
PUBLISHED_NAMES = {
    "desed_synthetic_train": "synth_train",
    "desed_strong_real": "strong_train",
    "desed_weak_train": "weak_train",
    "desed_weak_validation": "weak_val",
    "desed_unlabeled": "unlabeled_train",
    "desed_synthetic_validation": "synth_val",
    "desed_validation": "devtest",
    "desed_eval": "eval",
}
# Of AST: class and distillation token, and patches of one time.
_SPECIAL_TOKENS, _PATCHES = 2, 12
# Clips whose values are part of a fingerprint.
_SAMPLED_CLIPS = 8
# Of a file: inode, bytes, time of its last change in nanoseconds.
_State = tuple[int, int, int]


class StoredForm(NamedTuple):
    """What is wanted of a store: the name of the embedding, its frames and values per clip, whether it is timed.

    origin: what it must be made of, None where that is not known. pooling: what comes of frames that are more
    than the listener's; a file may hold either.
    """

    output: str
    frames: int
    dim: int
    is_timed: bool
    origin: Origin | None = None
    pooling: Pooling | None = None

    @property
    def own_frames(self) -> int:
        """Embedding frames before any pooling."""
        return self.frames if self.pooling is None else self.pooling.before.frames


def tokens_of(frames: int) -> int:
    """How many tokens of AST `frames` times are made of."""
    return _SPECIAL_TOKENS + _PATCHES * frames


def file_name_of(clip_set_name: str) -> str:
    """The name of a set's file of embeddings, without its ending."""
    return PUBLISHED_NAMES.get(clip_set_name, clip_set_name)


def store_path(folder: Path, clip_set_name: str) -> Path:
    """Where the embeddings of a set are, or would be."""
    return folder / f"{file_name_of(clip_set_name)}.hdf5"


def weights_of_stores(folder: Path) -> str:
    """SHA-256 of the weights that the stores in a folder were extracted with; empty where none says.

    CorpusError when they were extracted with several.
    """
    said: dict[str, Path] = {}
    for path in sorted(folder.glob("*.hdf5")):
        with opened(path) as file:
            contents = read_contents(file)
        if contents is not None and contents.origin.weights:
            said.setdefault(contents.origin.weights, path)
    if len(said) > 1:
        one, other = list(said.values())[:2]
        raise CorpusError(f"{one} and {other} were extracted with other weights; {_extract(other)} --overwrite")
    return next(iter(said), "")


def open_embeddings(folder: Path, clip_set: ClipSet, form: StoredForm) -> EmbeddingReader:
    """The embeddings of the clips of a set; CorpusError where they are missing, broken, or not what is wanted."""
    if not clip_set.clips:
        raise CorpusError(
            f"{clip_set.name}: it has no recordings, so nothing of it can be stored; take mode frozen for its embedder"
        )
    return _Reader([_StoredSet(folder, part, form) for part in clip_set.parts or (clip_set,)], form)


class _Reader:
    """An EmbeddingReader of one file, or of those of a joined set."""

    def __init__(self, sets: Sequence[_StoredSet], form: StoredForm) -> None:
        self._sets, self._form = sets, form
        self._set_of = {audio_id: number for number, one in enumerate(sets) for audio_id in one.rows}
        self._fingerprint: str | None = None

    @property
    def fingerprint(self) -> str:
        """Of the form, the clips, and the values of some of them."""
        if self._fingerprint is None:
            ids = list(self._set_of)
            form = self._form._replace(origin=None, pooling=None)
            digest = hashlib.sha256(repr((tuple(form), ids)).encode())
            sampled = [ids[number * len(ids) // _SAMPLED_CLIPS] for number in range(min(_SAMPLED_CLIPS, len(ids)))]
            digest.update(self.read(sampled).values.numpy().tobytes())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def read(self, audio_ids: Sequence[str]) -> Embedding:
        """Those of some clips, on the CPU, float32."""
        if len(self._sets) == 1:
            return Embedding(self._sets[0].read(audio_ids), self._form.is_timed)
        values = torch.empty(len(audio_ids), self._form.frames, self._form.dim)
        for number, one in enumerate(self._sets):
            places = [place for place, audio_id in enumerate(audio_ids) if self._set_of[audio_id] == number]
            if places:
                values[places] = one.read([audio_ids[place] for place in places])
        return Embedding(values, self._form.is_timed)


class _StoredSet:
    """The embeddings of one set in its file, checked when this is made."""

    def __init__(self, folder: Path, clip_set: ClipSet, form: StoredForm) -> None:
        self.path, self._form = store_path(folder, clip_set.name), form
        self._part: Part = "global" if form.output == "global" else "frame"
        if not self.path.is_file():
            raise CorpusError(f"{self.path}: no embeddings of {clip_set.name}; {_extract(self.path)}")
        self._state = self._state_now()
        self.rows = self._rows_of(clip_set)
        with opened(self.path) as file:
            self._layout = layout_of(file)
            self._require_origin(file)
            self._means = self._require_shape(file)
            self._require_recordings(file, clip_set)

    def read(self, audio_ids: Sequence[str]) -> Tensor:
        """(clips, embedding_frames, dim) float32. CorpusError when the file is not what it was."""
        if self._state_now() != self._state:
            raise CorpusError(f"{self.path}: it changed while it was in use; start again")
        with opened(self.path) as file:
            found = self._layout.read(file, self._part, [self.rows[audio_id] for audio_id in audio_ids])
            values = torch.from_numpy(np.ascontiguousarray(found)).float()
            if self._means:
                patches = values[:, _SPECIAL_TOKENS:].unflatten(1, (_PATCHES, -1))  # type: ignore[no-untyped-call]
                values = patches.mean(dim=1)
            if values.shape[1:] != (self._form.frames, self._form.dim):
                values = self._pooled(values)
        return values

    def _pooled(self, values: Tensor) -> Tensor:
        pooling = self._form.pooling
        if pooling is None or values.shape[1:] != (pooling.before.frames, self._form.dim):
            raise ValueError(f"clips of several shapes, one of them {tuple(values.shape[1:])}")
        return pooling.weights() @ values

    def _rows_of(self, clip_set: ClipSet) -> dict[str, int]:
        """audio_id -> row, of the clips of the set."""
        rows = _rows_in(self.path, self._state)
        missing = [clip.audio_id for clip in clip_set.clips if clip.audio_id not in rows]
        if missing:
            raise CorpusError(
                f"{self.path}: {len(missing)} of the {len(clip_set.clips)} clips of {clip_set.name} are not in it, "
                f"such as {missing[0]}; {_extract(self.path)} --overwrite"
            )
        return {clip.audio_id: rows[clip.audio_id] for clip in clip_set.clips}

    def _require_origin(self, file: Any) -> None:
        contents = read_contents(file)
        if contents is None:
            return
        wanted, held = self._form.output, contents.output
        is_derived = wanted == "frame" and held == "tokens"
        if (self._part == "frame" or self._layout.name == "compact") and held != wanted and not is_derived:
            raise CorpusError(
                f"{self.path}: holds output {held} of its embedder, the conf listens to {wanted}; set output to "
                f"{held}, or extract it with --overwrite"
            )
        difference = contents.origin.difference(self._form.origin) if self._form.origin is not None else None
        if difference is not None:
            raise CorpusError(
                f"{self.path}: made by another embedder than the conf's ({difference}); name another store, or extract "
                f"it again with --overwrite"
            )

    def _require_shape(self, file: Any) -> bool:
        """Whether means over the patches of AST are to be taken. CorpusError for another shape than the form's."""
        form = self._form
        layout: Layout = self._layout
        try:
            frames, dim = layout.shape(file, self._part, next(iter(self.rows.values())))
        except KeyError:
            raise CorpusError(
                f"{self.path}: holds no {self._part}_embeddings, which output {form.output} is read from; set another "
                f"output, or extract it again"
            ) from None
        own = form.own_frames
        if dim == form.dim and frames in (form.frames, own):
            return False
        if dim == form.dim and form.output == "frame" and frames == tokens_of(own):
            return True
        raise CorpusError(
            f"{self.path}: holds {dim} values x {frames} embedding frames per clip, output {form.output} of the conf's "
            f"embedder has {form.dim} x {form.frames}; name the store of this embedder, or {_extract(self.path)} "
            f"--overwrite"
        )

    def _require_recordings(self, file: Any, clip_set: ClipSet) -> None:
        """CorpusError for a recording that is not the one that was heard."""
        recordings = read_recordings(file, list(self.rows.values()))
        if recordings is None:
            return
        changed = [
            clip for clip, before in zip(clip_set.clips, recordings, strict=True) if not is_unchanged(clip.path, before)
        ]
        if changed:
            raise CorpusError(
                f"{self.path}: {len(changed)} of the {len(clip_set.clips)} recordings of {clip_set.name} changed since "
                f"it was extracted, such as {changed[0].path}; {_extract(self.path)} --overwrite"
            )

    def _state_now(self) -> _State:
        try:
            status = self.path.stat()
        except OSError as error:
            raise CorpusError(f"{self.path}: cannot be read any more ({error.strerror})") from None
        return status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=32)
def _rows_in(path: Path, state: _State) -> Mapping[str, int]:  # noqa: ARG001  tells a file from what it was
    """audio_id -> row of a whole file; ten thousand attributes of a file of 2022 take seconds to read."""
    with opened(path) as file:
        return layout_of(file).rows(file)


def _extract(path: Path) -> str:
    """The command that makes a file."""
    return (
        f"extract it with `python recipes/extract_embeddings.py --conf_file CONF --output_dir {path.parent.parent} "
        f"--sets {path.stem}`"
    )
