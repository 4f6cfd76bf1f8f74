"""The layouts of stored embeddings, told apart by what is in the HDF5 file.

2022     `global_embeddings` (clips,) and `frame_embeddings` (clips, dim), each entry an array of any length (float32):
         of a clip one row of all its embedding frames per value. Which clip is where stands in attributes of both:
         attrs[audio_id] = row.
2023     `global_embeddings` (clips, dim), `frame_embeddings` (clips, dim, embedding_frames) float32, and `filenames`
         (clips,), which are audio_ids
compact  `embeddings` (clips, embedding_frames, dim) float16 and `audio_ids` (clips,)

The first two are those of the DESED baselines of these years. Here clips always have (embedding_frames, dim); one of
the whole clip is a single embedding frame. Read and written row by row, so memory holds no more than what is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

Part = Literal["global", "frame"]
# Of the clips that come next: part -> (clips, embedding_frames, dim).
Block = Mapping[Part, NDArray[Any]]
LayoutName = Literal["compact", "2022", "2023"]
_TEXT = h5py.string_dtype("utf-8")


class Layout(Protocol):
    """A layout. `file` is an open h5py.File; part: the embedding of the whole clip, or the other one."""

    name: ClassVar[LayoutName]
    # Of the values as they are written.
    dtype: ClassVar[type[np.floating[Any]]]

    def fits(self, file: Any) -> bool:
        """Whether the file has this layout."""
        ...

    def rows(self, file: Any) -> dict[str, int]:
        """audio_id -> row."""
        ...

    def shape(self, file: Any, part: Part, row: int) -> tuple[int, int]:
        """(embedding_frames, dim) of the clip of a row; KeyError where there is none of that part."""
        ...

    def read(self, file: Any, part: Part, rows: Sequence[int]) -> NDArray[Any]:
        """(rows, embedding_frames, dim)."""
        ...

    def write(self, file: Any, audio_ids: Sequence[str], blocks: Iterable[Block]) -> None:
        """Every clip, in the order of `audio_ids`."""
        ...


class Compact:
    """Ours."""

    name: ClassVar[LayoutName] = "compact"
    dtype: ClassVar[type[np.floating[Any]]] = np.float16

    def fits(self, file: Any) -> bool:
        """See Layout."""
        return "embeddings" in file and "audio_ids" in file

    def rows(self, file: Any) -> dict[str, int]:
        """See Layout."""
        return {str(audio_id): row for row, audio_id in enumerate(file["audio_ids"].asstr()[:])}

    def shape(self, file: Any, part: Part, row: int) -> tuple[int, int]:  # noqa: ARG002  it holds one, whichever
        """See Layout."""
        _, frames, dim = file["embeddings"].shape
        return frames, dim

    def read(self, file: Any, part: Part, rows: Sequence[int]) -> NDArray[Any]:  # noqa: ARG002
        """See Layout."""
        return _gathered(file["embeddings"], rows)

    def write(self, file: Any, audio_ids: Sequence[str], blocks: Iterable[Block]) -> None:
        """See Layout."""
        file.create_dataset("audio_ids", data=list(audio_ids), dtype=_TEXT)
        _fill(file, "embeddings", len(audio_ids), self.dtype, (block["frame"] for block in blocks))


class Published2023:
    """That of the DESED baseline of 2023."""

    name: ClassVar[LayoutName] = "2023"
    dtype: ClassVar[type[np.floating[Any]]] = np.float32

    def fits(self, file: Any) -> bool:
        """See Layout."""
        return "filenames" in file and _is_published(file)

    def rows(self, file: Any) -> dict[str, int]:
        """See Layout."""
        return {str(name): row for row, name in enumerate(file["filenames"].asstr()[:])}

    def shape(self, file: Any, part: Part, row: int) -> tuple[int, int]:  # noqa: ARG002
        """See Layout."""
        _, dim, *frames = file[f"{part}_embeddings"].shape
        return (frames[0] if frames else 1), dim

    def read(self, file: Any, part: Part, rows: Sequence[int]) -> NDArray[Any]:
        """See Layout."""
        values = _gathered(file[f"{part}_embeddings"], rows)
        return values[:, None] if values.ndim == 2 else values.transpose(0, 2, 1)

    def write(self, file: Any, audio_ids: Sequence[str], blocks: Iterable[Block]) -> None:
        """See Layout."""
        file.create_dataset("filenames", data=list(audio_ids), dtype=_TEXT)
        datasets: dict[Part, Any] = {}
        first = 0
        for block in blocks:
            for part, values in block.items():
                rows = values[:, 0] if part == "global" else values.transpose(0, 2, 1)
                if part not in datasets:
                    shape = (len(audio_ids), *rows.shape[1:])
                    datasets[part] = file.create_dataset(f"{part}_embeddings", shape, self.dtype)
                datasets[part][first : first + len(rows)] = rows
            first += len(block["frame"])


class Published2022:
    """That of the DESED baseline of 2022."""

    name: ClassVar[LayoutName] = "2022"
    dtype: ClassVar[type[np.floating[Any]]] = np.float32

    def fits(self, file: Any) -> bool:
        """See Layout."""
        return "filenames" not in file and _is_published(file)

    def rows(self, file: Any) -> dict[str, int]:
        """See Layout."""
        indexed = file["frame_embeddings" if "frame_embeddings" in file else "global_embeddings"]
        return {str(audio_id): int(row) for audio_id, row in indexed.attrs.items()}

    def shape(self, file: Any, part: Part, row: int) -> tuple[int, int]:
        """See Layout."""
        frames, dim = self._row(file[f"{part}_embeddings"], row).shape
        return frames, dim

    def read(self, file: Any, part: Part, rows: Sequence[int]) -> NDArray[Any]:
        """See Layout."""
        return np.stack([self._row(file[f"{part}_embeddings"], row) for row in rows])

    def _row(self, dataset: Any, row: int) -> Any:
        if dataset.ndim == 1:
            return dataset[row][None]
        return np.stack(dataset[row]).T

    def write(self, file: Any, audio_ids: Sequence[str], blocks: Iterable[Block]) -> None:
        """See Layout."""
        datasets: dict[Part, Any] = {}
        first = 0
        for block in blocks:
            for part, values in block.items():
                if part not in datasets:
                    shape = (len(audio_ids), *(() if part == "global" else values.shape[2:]))
                    kind = h5py.vlen_dtype(self.dtype)
                    datasets[part] = file.create_dataset(f"{part}_embeddings", shape, kind)
                    for row, audio_id in enumerate(audio_ids):
                        datasets[part].attrs[audio_id] = row
                for row, of_clip in enumerate(values, start=first):
                    datasets[part][row] = of_clip[0] if part == "global" else np.ascontiguousarray(of_clip.T)
            first += len(block["frame"])


LAYOUTS: Mapping[LayoutName, Layout] = {layout.name: layout for layout in (Compact(), Published2022(), Published2023())}


def layout_of(file: Any) -> Layout:
    """The layout of an open file; ValueError for none of them."""
    for layout in LAYOUTS.values():
        if layout.fits(file):
            return layout
    raise ValueError(f"none of the layouts {', '.join(LAYOUTS)}: it holds {', '.join(file) or 'nothing'}")


def _is_published(file: Any) -> bool:
    return "frame_embeddings" in file or "global_embeddings" in file


def _gathered(dataset: Any, rows: Sequence[int]) -> NDArray[Any]:
    values = np.empty((len(rows), *dataset.shape[1:]), dataset.dtype)
    for place, row in enumerate(rows):
        dataset.read_direct(values, np.s_[row], np.s_[place])
    return values


def _fill(file: Any, name: str, count: int, dtype: Any, blocks: Iterable[NDArray[Any]]) -> None:
    dataset, first = None, 0
    for values in blocks:
        if dataset is None:
            dataset = file.create_dataset(name, (count, *values.shape[1:]), dtype)
        dataset[first : first + len(values)] = values
        first += len(values)
