"""Writing a store that may be killed at any moment: parts of a few clips, then the whole.

Beside <set>.hdf5, in <set>.hdf5.parts/: `plan.json`, what is extracted of which recordings, and `NNNNN.npz`, the
embeddings of PART_CLIPS clips each. Every file is written under another name, brought to the disk and renamed, so what
is there is whole. A later run with the same plan goes on with the parts that lack; one with another plan is refused.
When all are there they become the store, and the folder goes: for that moment a set takes its space twice.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np

from desed_task.audio.records import status_of
from desed_task.clips import Clip
from desed_task.embeddings.layouts import Block, LayoutName, layout_of
from desed_task.embeddings.origin import Origin, Recording, is_unchanged
from desed_task.embeddings.store_file import Contents, opened, read_contents, read_recordings, write_store
from desed_task.errors import CorpusError

# Of the slowest embedder on a CPU, half a minute's work; of the widest, a hundred megabytes.
PART_CLIPS = 32
_PLAN = "plan.json"


class Plan(NamedTuple):
    """What a store is to hold: embeddings of some clips, in a layout."""

    layout: LayoutName
    contents: Contents
    clips: tuple[Clip, ...]


class Parts:
    """The parts of the store at `path`."""

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan
        self.folder = path.with_name(path.name + ".parts")
        clips = plan.clips
        self.clips = [clips[first : first + PART_CLIPS] for first in range(0, len(clips), PART_CLIPS)]

    def begin(self, overwrite: bool) -> list[int]:
        """The numbers of the parts that lack. CorpusError for parts of another plan, unless they are overwritten."""
        written = self.folder / _PLAN
        mine = _as_tree(self.plan)
        theirs = _read_plan(written)
        difference = _difference(theirs, mine) if theirs is not None else None
        if difference is not None or (theirs is None and self.folder.exists()):
            if difference is not None and not overwrite:
                raise CorpusError(
                    f"{self.folder}: parts of another extraction ({difference}); go on with that one, or replace it "
                    f"with --overwrite"
                )
            shutil.rmtree(self.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CorpusError(f"{self.folder}: cannot be made ({error.strerror}); name another --output_dir") from None
        if not written.exists():
            _write_whole(written, lambda partial: partial.write_text(json.dumps(mine), encoding="utf-8"))
        return [number for number in range(len(self.clips)) if self._read(number) is None]

    def write(self, number: int, block: Block, recordings: Sequence[Recording]) -> None:
        """One part. CorpusError when there is no room."""
        arrays = {str(part): values for part, values in block.items()}
        heard = np.array([tuple(map(str, recording)) for recording in recordings])

        def write(partial: Path) -> None:
            with partial.open("wb") as stream:
                np.savez(stream, recordings=heard, **arrays)  # type: ignore[arg-type]

        _write_whole(self._part(number), write)

    def assemble(self) -> None:
        """The store, of parts that are all there; the parts are removed."""
        recordings = dict(self._recordings())
        write_store(self.path, self.plan.layout, self.plan.contents, recordings, self._blocks())
        self.remove()

    def remove(self) -> None:
        """Remove what is left of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _recordings(self) -> Iterator[tuple[str, Recording]]:
        for number, clips in enumerate(self.clips):
            heard = self._whole(number)["recordings"]
            for clip, (num_bytes, mtime_ns, sha256) in zip(clips, heard, strict=True):
                yield clip.audio_id, Recording(int(num_bytes), int(mtime_ns), str(sha256))

    def _blocks(self) -> Iterator[Block]:
        for number in range(len(self.clips)):
            arrays = self._whole(number)
            yield {part: arrays[part] for part in ("frame", "global") if part in arrays}

    def _whole(self, number: int) -> Mapping[str, Any]:
        arrays = self._read(number)
        if arrays is None:
            raise CorpusError(f"{self._part(number)}: not there any more, or broken; start the extraction again")
        return arrays

    def _read(self, number: int) -> Mapping[str, Any] | None:
        """A part; None where it is not there or, on a disk that lost some of it, not whole."""
        try:
            with np.load(self._part(number), allow_pickle=False) as arrays:
                read = {name: arrays[name] for name in arrays}
        except (OSError, ValueError, BadZipFile, EOFError):
            return None
        return read if {len(values) for values in read.values()} == {len(self.clips[number])} else None

    def _part(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"


def difference_of_store(path: Path, plan: Plan) -> str | None:
    """Why a store is not the one that is planned, in words; None when it is. CorpusError when it is broken."""
    with opened(path) as file:
        contents, layout = read_contents(file), layout_of(file)
        if contents is None:
            return "it does not say which embedder made it"
        difference = contents.origin.difference(plan.contents.origin)
        if difference is not None:
            return f"made by another embedder, {difference}"
        if (layout.name, contents.output) != (plan.layout, plan.contents.output):
            mine, theirs = (plan.layout, plan.contents.output), (layout.name, contents.output)
            return f"layout {theirs[0]} of output {theirs[1]} for {mine[0]} of {mine[1]}"
        if contents.clock != plan.contents.clock:
            return "its frames are those of another clock"
        rows = layout.rows(file)
        lacking = [clip for clip in plan.clips if clip.audio_id not in rows]
        if lacking:
            return f"{len(lacking)} of {len(plan.clips)} recordings are new, such as {lacking[0].path}"
        recordings = read_recordings(file, [rows[clip.audio_id] for clip in plan.clips]) or []
    changed = [clip for clip, before in zip(plan.clips, recordings, strict=True) if not is_unchanged(clip.path, before)]
    return f"{len(changed)} recordings changed, such as {changed[0].path}" if changed else None


def _as_tree(plan: Plan) -> dict[str, Any]:
    """A plan as plain values, with the sizes and times of its recordings as they are now."""
    output, clock, origin = plan.contents
    states = [status_of(clip.path) for clip in plan.clips]
    tree = {
        "part_clips": PART_CLIPS,
        "layout": plan.layout,
        "output": output,
        "clock": clock,
        "origin": origin.as_attributes(),
        "recordings": {clip.audio_id: state for clip, state in zip(plan.clips, states, strict=True)},
    }
    copied: dict[str, Any] = json.loads(json.dumps(tree))
    return copied


def _read_plan(path: Path) -> dict[str, Any] | None:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return read if isinstance(read, dict) else None


def _difference(theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> str | None:
    """The first thing in which two plans differ, in words."""
    origins = [Origin.from_attributes(plan.get("origin", {})) for plan in (theirs, mine)]
    if origins[0] is None or origins[1] is None:
        return "they do not say of which embedder"
    of_embedder = origins[0].difference(origins[1])
    if of_embedder is not None:
        return f"of another embedder, {of_embedder}"
    for key in ("layout", "output", "clock", "part_clips"):
        if theirs.get(key) != mine[key]:
            return f"{key} {theirs.get(key)} for {mine[key]}"
    theirs_heard, heard = theirs.get("recordings", {}), mine["recordings"]
    if list(theirs_heard) != list(heard):
        return f"of {len(theirs_heard)} recordings, these are {len(heard)} others"
    changed = next((audio_id for audio_id in heard if heard[audio_id] != theirs_heard[audio_id]), None)
    return None if changed is None else f"the recording {changed} changed since"


def _write_whole(path: Path, write: Any) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        write(partial)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be written ({error.strerror}); make room or name another place") from None
