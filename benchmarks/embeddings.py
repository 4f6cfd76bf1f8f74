"""How fast are embeddings extracted and read, and what do they take? Beside the published script of 2022.

    python benchmarks/embeddings.py --peer PEER --json docs/results/embeddings.json

Rows (--only NAME for one of them):

    extraction panns           clips of 10 s per second: what recipes/extract_embeddings.py does for a detector that
                               listens to `frame` (compact layout); peer: the published script, which extracts both
                               embeddings into the HDF5 of 2022
    extraction panns, 2022     the same with both embeddings in the same layout
    bytes per clip panns       compact beside the layout of 2023, `frame` of Cnn14
    bytes per clip 496 frames  the same of 768 values in 496 frames (BEATs' number), for a detector of 156
    reading 2022, reading 2023 batches of 48 clips per second from a compact file (PANNs' `frame`); peer: the published
                               readers, clip by clip from these layouts

The peer is github.com/DCASE-REPO/DESED_task at COMMIT in a process of its own, with `pip install --no-deps --target
PEER/packages torchlibrosa==0.1.0`. Both sides have the same random weights and batches of 8, each is run once before it
is timed, then in turn; medians. What both wrote in the layout of 2022 is compared, and a difference above TOLERANCE of
the largest value is refused. Reading: page cache warm.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.machine import probe_gflops
from benchmarks.row_files import write_rows
from desed_task.clips import Clip, ClipSet
from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import PANNsEmbedderOptions
from desed_task.embeddings.layouts import LayoutName
from desed_task.embeddings.origin import Origin, Recording
from desed_task.embeddings.pooling import Listener
from desed_task.embeddings.store import StoredForm, open_embeddings
from desed_task.embeddings.store_file import Contents, write_store
from desed_task.errors import DesedTaskError
from desed_task.features.logmel import LogMelOptions
from desed_task.runs.extraction import extract
from desed_task.runs.extraction_embedders import Extraction, layout_embedders
from desed_task.training.energy import EnergyReading

Row = dict[str, Any]
COMMIT = "c6bcb45b8b98"
RATE, SECONDS, BATCH_SIZE, READ_CLIPS = 16_000, 10, 8, 48
# Clips that are extracted, and that are stored for reading.
SIZES = {"full": (48, 240), "small": (3, 60)}
TOLERANCE = 1e-4
DETECTOR = Listener(LogMelOptions(), time_pooling=4, frames=156)
_ORIGIN = Origin({}, "", float(SECONDS))


def main(argv: Sequence[str]) -> int:
    """Run, print, write."""
    parser = RecipeParser(description="Extraction and reading of embeddings beside the published code.")
    parser.add_argument("--peer", type=Path, help="checkout of DESED_task; rows that need it are left out without it")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", choices=ROWS, action="append", help="this row alone; may be repeated")
    parser.add_argument("--repeats", type=whole_number(1), default=5, help="how often both sides are timed in turn")
    parser.add_argument("--threads", type=whole_number(1), default=os.cpu_count() or 1, help="of both sides")
    parser.add_argument("--size", choices=SIZES, default="full", help="small: a try, no result")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    rows: list[Row] = []
    for name in arguments.only or [name for name in ROWS if arguments.peer or not name.startswith("extraction")]:
        with tempfile.TemporaryDirectory() as folder:
            row = ROWS[name](Path(folder), arguments)
        rows.append({"name": name, **row, **_circumstances(arguments)})
        beside = f"{row['peer']} {row['peer_value']:.4g}, ratio {row['ratio']:.3g}"
        show(f"{name:<26} {row['value']:.4g} {row['unit']}, {beside}")
    if arguments.json is not None:
        write_rows(rows, arguments.json)
    return 0


def extraction_row(layout: LayoutName, folder: Path, arguments: Namespace) -> Row:
    """Clips per second of both sides in turn."""
    if arguments.peer is None:
        raise DesedTaskError("extraction needs the published code; name its checkout with --peer")
    clip_set = _write_recordings(folder / "recordings", SIZES[arguments.size][0])
    with _peer(arguments.peer) as ask:
        ask({"weights": str(folder / "w.pth"), "threads": arguments.threads})
        extraction = _extraction(folder / "w.pth", layout)
        ours, theirs = [], []
        for number in range(-1, arguments.repeats):  # the first one warms up
            place = folder / f"{number}"
            start = time.perf_counter()
            (written,) = extract({"panns": clip_set}, extraction, place, False, lambda: EnergyReading("none"))
            ours.append(time.perf_counter() - start)
            recordings = str(folder / "recordings")
            theirs.append(ask({"recordings": recordings, "folder": str(place), "batch_size": BATCH_SIZE})["seconds"])
        _require_same(clip_set, written, place / "peer.hdf5", both=layout == "2022")
    mine, peer = median(ours[1:]), median(theirs[1:])
    ratio = median(there / here for here, there in zip(ours[1:], theirs[1:], strict=True))
    count = len(clip_set.clips)
    return _row(count / mine, "clips/s", f"DESED_task {COMMIT}", count / peer, ratio)


def bytes_row(frames: int, dim: int, folder: Path, arguments: Namespace) -> Row:
    """Bytes per clip of a file in both layouts; embeddings of more frames than the detector's are pooled."""
    count = SIZES[arguments.size][1]
    compact, published = (
        _write_store(folder, name, count, shape, dim)
        for name, shape in (("compact", min(frames, DETECTOR.frames)), ("2023", frames))
    )
    mine, theirs = (path.stat().st_size / count for path in (compact, published))
    return _row(mine, "bytes/clip", "layout 2023", theirs, theirs / mine)


def reading_row(layout: LayoutName, folder: Path, arguments: Namespace) -> Row:
    """Batches of random clips: our reader of a compact file, the published reader's way of the other layout."""
    count, (frames, dim) = SIZES[arguments.size][1], (125, 2048)
    _write_store(folder, "compact", count, frames, dim)
    published = _write_store(folder, layout, count, frames, dim)
    reader = open_embeddings(folder, _clips("compact", count), StoredForm("frame", frames, dim, is_timed=True))
    rng = np.random.default_rng(1)
    ours, theirs = [], []
    with h5py.File(published, "r") as file:
        index = _published_index(file)
        for _ in range(arguments.repeats + 1):
            chosen = [f"clip_{number:05d}" for number in rng.choice(count, READ_CLIPS, replace=False)]
            start = time.perf_counter()
            mine = reader.read(chosen).values
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            peer = torch.stack(
                [torch.from_numpy(np.stack(file["frame_embeddings"][index[name]])).float() for name in chosen]
            )
            theirs.append(time.perf_counter() - start)
            if (mine - peer.transpose(1, 2)).abs().max() > 1e-3:
                raise DesedTaskError(f"reading {layout}: the two sides do not read the same")
    ratio = median(there / here for here, there in zip(ours[1:], theirs[1:], strict=True))
    peer_name = f"h5py {h5py.__version__}, layout {layout}"
    return _row(READ_CLIPS / median(ours[1:]), "clips/s", peer_name, READ_CLIPS / median(theirs[1:]), ratio)


ROWS: Mapping[str, Callable[[Path, Namespace], Row]] = {
    "extraction panns": lambda folder, arguments: extraction_row("compact", folder, arguments),
    "extraction panns, 2022": lambda folder, arguments: extraction_row("2022", folder, arguments),
    "bytes per clip panns": lambda folder, arguments: bytes_row(125, 2048, folder, arguments),
    "bytes per clip 496 frames": lambda folder, arguments: bytes_row(496, 768, folder, arguments),
    "reading 2022": lambda folder, arguments: reading_row("2022", folder, arguments),
    "reading 2023": lambda folder, arguments: reading_row("2023", folder, arguments),
}


def _extraction(weights: Path, layout: LayoutName) -> Extraction:
    embedder = BuiltEmbedder(PANNsEmbedderOptions(weights=weights), RATE, float(SECONDS), DETECTOR)
    device = torch.device("cpu")
    return Extraction(layout_embedders(embedder, layout), DETECTOR.features, layout, BATCH_SIZE, device)


def _write_recordings(folder: Path, count: int) -> ClipSet:
    """Noise whose loudness differs, as int16 wav files."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    clip_set = _clips("panns", count, folder)
    for clip in clip_set.clips:
        samples = rng.normal(0, rng.uniform(0.01, 0.2), SECONDS * RATE).clip(-1, 1)
        soundfile.write(clip.path, samples, RATE, subtype="PCM_16")
    return clip_set


def _clips(name: str, count: int, folder: Path = Path()) -> ClipSet:
    names = [f"clip_{number:05d}" for number in range(count)]
    return ClipSet(name, tuple(Clip(stem, folder / f"{stem}.wav", float(SECONDS)) for stem in names), "none")


def _write_store(folder: Path, layout: LayoutName, count: int, frames: int, dim: int) -> Path:
    """Random embeddings, those of a clip the same in every layout; <layout>.hdf5, which names no recordings."""
    path = folder / f"{layout}.hdf5"
    names = [clip.audio_id for clip in _clips(layout, count).clips]

    def blocks() -> Iterator[dict[Any, NDArray[np.floating]]]:
        for number in range(count):
            rng = np.random.default_rng(number)
            values = rng.random((1, frames, dim), dtype=np.float32).astype(np.float16)
            whole = rng.random((1, 1, dim), dtype=np.float32)
            yield {"frame": values} if layout == "compact" else {"frame": values.astype(np.float32), "global": whole}

    nothing = dict.fromkeys(names, Recording(0, 0, ""))
    write_store(path, layout, Contents("frame", None, _ORIGIN), nothing, blocks())
    with h5py.File(path, "a") as file:
        del file["recordings"]
    return path


def _published_index(file: Any) -> dict[str, int]:
    if "filenames" in file:
        return {name.decode(): row for row, name in enumerate(file["filenames"])}
    return {name: int(row) for name, row in file["frame_embeddings"].attrs.items()}


def _require_same(clip_set: ClipSet, ours: Path, theirs: Path, both: bool) -> None:
    """DesedTaskError when the two sides did not extract the same."""
    wanted = [("frame", 125, 2048), *([("global", 1, 2048)] if both else [])]
    for output, frames, dim in wanted:
        form = StoredForm(output, frames, dim, is_timed=False)
        names = [clip.audio_id for clip in clip_set.clips]
        mine, peer = (
            open_embeddings(path.parent, ClipSet(path.stem, clip_set.clips, "none"), form).read(names).values
            for path in (ours, theirs)
        )
        apart = float((mine - peer).abs().max() / peer.abs().max())
        tolerance = TOLERANCE if both else 1e-3  # float16
        if not apart < tolerance:
            raise DesedTaskError(f"{output}: the two sides are {apart:.2g} of the largest value apart")


@contextmanager
def _peer(checkout: Path) -> Iterator[Callable[[dict[str, Any]], dict[str, Any]]]:
    """The published script in a process of its own; what asks it."""
    recipe = checkout / "recipes" / "dcase2022_task4_baseline"
    if not (recipe / "extract_embeddings.py").is_file():
        raise DesedTaskError(f"--peer {checkout}: no checkout of DESED_task (no {recipe.name}/extract_embeddings.py)")
    script = Path(__file__).resolve().with_name("extraction_peer.py")
    path = os.pathsep.join(str(folder.resolve()) for folder in (checkout, recipe, checkout / "packages"))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise DesedTaskError(f"--peer {checkout}: the published code failed; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    with process:
        try:
            yield ask
        finally:
            process.terminate()


def _row(value: float, unit: str, peer: str, peer_value: float, ratio: float) -> Row:
    return {"value": value, "unit": unit, "peer": peer, "peer_value": peer_value, "ratio": ratio}


def _circumstances(arguments: Namespace) -> Row:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, no GPU used"
    measured = {"machine": machine, "threads": arguments.threads, "torch": torch.__version__}
    return {**measured, "gflops": probe_gflops(), "repeats": arguments.repeats, "size": arguments.size}


if __name__ == "__main__":
    run_recipe(main)
