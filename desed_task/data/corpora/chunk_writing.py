"""Writing chunk folders and manifests as fsd50k-pytorch does, for those who go on with its scripts.

Chunks of 1 s, 0.5 s apart, as <recording>_<%04d>.wav, 16 bits; the rest at a recording's end is repeated up to a second
(data/clip_chunks.py, tail `tile`). Manifests are tr.csv (shuffled), val.csv and eval.csv (by recording), beside
lbl_map.json.

The chunks of a 16-bit recording of one channel are those of `chunkify_fsd50k.py` (commit 49b70777f020), to the last
bit. Recordings of several channels are averaged, which that script leaves as they are. Our shuffling is the same every
time; the published one is another in every run.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.reading import check_header, read_waveform
from desed_task.data.clip_chunks import cut_chunks
from desed_task.data.corpora.chunks import COLUMNS, recording_of
from desed_task.data.corpora.listing import list_recordings
from desed_task.data.decoding import in_threads
from desed_task.data.packing import FULL_SCALE
from desed_task.data.tagging_options import Tail
from desed_task.data.waveform_mixing import tile
from desed_task.errors import CorpusError
from desed_task.events import audio_id_of

CHUNK_SECONDS, HOP_SECONDS = 1.0, 0.5
_SHUFFLING_SEED = 0


def write_chunks(
    recordings: Sequence[Path],
    folder: Path,
    sample_rate: int | None = None,
    tail: Tail = "tile",
    num_threads: int | None = None,
) -> int:
    """Write the chunks of recordings into `folder`; how many.

    sample_rate: resampled to it; each recording's own where not given. AudioError names a recording that cannot be
    read, CorpusError two of one name.
    """
    name, times = Counter(audio_id_of(path.name) for path in recordings).most_common(1)[0]
    if times > 1:
        raise CorpusError(f"{folder}: {times} recordings are called {name}, and so would be their chunks; rename them")
    folder.mkdir(parents=True, exist_ok=True)
    written = in_threads(lambda path: _write_recording(path, folder, sample_rate, tail), recordings, num_threads)
    return sum(tqdm(written, total=len(recordings), desc=f"chunks to {folder.name}", unit="clip", disable=None))


def write_manifest(
    tags: Mapping[str, Sequence[str]], chunks: Path, path: Path, shuffled: bool = False
) -> tuple[int, list[str]]:
    """Write the manifest of the recordings of `tags` whose chunks lie in the folder `chunks`.

    Returns how many chunks it lists, and the recordings that have none. Paths are absolute, as published.
    """
    root = chunks.resolve()
    if not root.is_dir():
        raise CorpusError(f"{chunks}: no such folder of chunks; write them first (--src_dir, --tgt_dir)")
    rows = [
        (str(root / name), ",".join(tags[recording]), recording)
        for name in list_recordings(root)
        if (recording := recording_of(audio_id_of(name))) in tags
    ]
    if not rows:
        raise CorpusError(f"{chunks}: holds no chunk of the {len(tags)} recordings of {path.name}; name another folder")
    # list_recordings sorts by name; a sort by recording keeps its chunks in their order
    rows.sort(key=lambda row: row[2])
    if shuffled:
        order = np.random.default_rng(_SHUFFLING_SEED).permutation(len(rows))
        rows = [rows[place] for place in order.tolist()]
    _write_rows(rows, path)
    return len(rows), sorted(tags.keys() - {row[2] for row in rows})


def _write_recording(path: Path, folder: Path, sample_rate: int | None, tail: Tail) -> int:
    """The chunks of one recording; how many there are."""
    rate = sample_rate or check_header(path).sample_rate
    samples = np.rint(read_waveform(path, rate) * FULL_SCALE).clip(-FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    name = audio_id_of(path.name)
    num = 0
    for chunk in cut_waveform(samples, rate, tail):
        target = folder / f"{name}_{num:04d}.wav"
        num += 1
        partial = target.with_name(f"{target.name}.partial")
        soundfile.write(partial, chunk, rate, subtype="PCM_16", format="WAV")
        partial.replace(target)
    return num


def cut_waveform(samples: NDArray[np.int16], sample_rate: int, tail: Tail = "tile") -> Iterator[NDArray[np.int16]]:
    """(samples,) -> its chunks, each of one second."""
    length, hop = int(sample_rate * CHUNK_SECONDS), int(sample_rate * HOP_SECONDS)
    _, firsts = cut_chunks(np.array([len(samples)]), length, hop, tail)
    for first in firsts.tolist():
        chunk = np.zeros(length, dtype=np.int16)
        heard = samples[first : first + length]
        chunk[: len(heard)] = heard
        tile(chunk, len(heard))
        yield chunk


def _write_rows(rows: Iterable[tuple[str, ...]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    partial.replace(path)
