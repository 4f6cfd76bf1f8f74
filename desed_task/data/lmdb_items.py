"""What is packed into an LMDB: recordings with their labels, from folders of mixtures or from any corpus.

A folder of mixtures holds, as GISE-51's, a FLAC (or WAV) and a .txt per mixture, onset, offset and label of an event
per line, without a header; where there is no .txt, Scaper's .jams serves. A part that recipes/generate_soundscapes.py
wrote (soundscapes.tsv and audio/) is read as such. The published script takes files as the file system lists them;
here they come by name, folder after folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from desed_task.clips import ClipSet
from desed_task.data.corpora.esc import FOLDS, EscOptions, read_esc
from desed_task.data.corpora.listed import read_cells
from desed_task.data.corpora.listing import list_recordings
from desed_task.data.corpora.soundscapes import SoundscapesOptions, read_soundscapes
from desed_task.errors import CorpusError, EventTableError
from desed_task.events import Event
from desed_task.formats.jams import read_jams

TimedLabels = tuple[tuple[float, float, str], ...]


class Item(NamedTuple):
    """A recording to be packed; source: its name as the file keeps it; the others as lmdb_index.Row has them."""

    audio_id: str
    path: Path
    source: str
    label: str | int
    fold: int | None = None
    events: TimedLabels | None = None
    group: str = ""


def items_of_folders(folders: Sequence[Path], delimiter: str) -> list[Item]:
    """The mixtures of several folders. CorpusError for one that is missing, empty, or lacks a table of events."""
    items = [item for folder in folders for item in _items_of_folder(folder, delimiter)]
    shared = {name for name, number in Counter(item.audio_id for item in items).items() if number > 1}
    # train/0.flac and train_p2/0.flac
    items = [item._replace(audio_id=_with_folder(item)) if item.audio_id in shared else item for item in items]
    again = Counter(item.audio_id for item in items).most_common(1)[0]
    if again[1] > 1:
        raise CorpusError(f"{again[0]}: {again[1]} mixtures are called so; name each folder once, or rename one")
    return items


def items_of_set(clip_set: ClipSet, delimiter: str) -> list[Item]:
    """The clips of a set that are there, weakly labelled or with their events. CorpusError for labels as below."""
    strong = clip_set.supervision == "strong"
    items = []
    for clip in clip_set.clips:
        events = _timed(clip_set.events.get(clip.audio_id, ())) if strong else None
        labels = [label for _, _, label in events] if events is not None else clip_set.tags.get(clip.audio_id, ())
        label = join_labels(labels, delimiter, str(clip.path))
        group = clip_set.groups.get(clip.audio_id, "")
        items.append(Item(clip.audio_id, clip.path, clip.path.name, label, None, events, group))
    return items


def items_of_esc(root: Path, numbers: Mapping[str, int] | None) -> tuple[list[Item], tuple[str, ...]]:
    """ESC-50 as its published LMDBs have it, and the names of its classes by their numbers.

    numbers: class -> number, by default the targets of esc50.csv. CorpusError for a class without a number.
    """
    numbers = numbers if numbers is not None else _targets_of_esc(root)
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise CorpusError(f"{root}: its classes are not numbered from 0 to {len(numbers) - 1}; name another label map")
    items = []
    for fold in FOLDS:
        try:
            of_fold = read_esc(EscOptions(name="esc50", root=root, folds=(fold,)), "weak")
        except CorpusError as error:
            if "no recording of fold" in str(error):
                continue
            raise
        for clip in of_fold.clips:
            (label,) = of_fold.tags[clip.audio_id]
            if label not in numbers:
                raise CorpusError(f"{root}: class {label!r} of {clip.path.name} has no number; name another label map")
            group = of_fold.groups[clip.audio_id]
            items.append(Item(clip.audio_id, clip.path, clip.path.name, numbers[label], fold, None, group))
    return sorted(items, key=lambda item: item.audio_id), tuple(sorted(numbers, key=numbers.__getitem__))


def join_labels(labels: Sequence[str], delimiter: str, place: str) -> str:
    """Labels as one text. CorpusError where that could not be taken apart again."""
    torn = next((label for label in labels if delimiter in label), None)
    if torn is not None:
        other = ";" if delimiter != ";" else "|"
        raise CorpusError(f"{place}: label {torn!r} holds the delimiter {delimiter!r}; pack with --delimiter '{other}'")
    return delimiter.join(labels)


def _items_of_folder(folder: Path, delimiter: str) -> list[Item]:
    if not folder.is_dir():
        raise CorpusError(f"{folder}: no such folder of mixtures; correct --mixture_dir")
    if (folder / "soundscapes.tsv").is_file():
        whole = folder.resolve()
        options = SoundscapesOptions(name="soundscapes", root=whole.parent, part=whole.name)
        items = items_of_set(read_soundscapes(options, "strong"), delimiter)
        return [item._replace(source=f"{whole.name}/{item.source}") for item in items]
    recordings = list(list_recordings(folder).values())
    if not recordings:
        raise CorpusError(f"{folder}: no mixtures here (NAME.flac with NAME.txt); correct --mixture_dir")
    progress = tqdm(recordings, desc=f"reading {folder.name}", unit="clip", disable=None)
    return [_item_of_mixture(path, delimiter) for path in progress]


def _item_of_mixture(path: Path, delimiter: str) -> Item:
    table, jams = path.with_suffix(".txt"), path.with_suffix(".jams")
    if table.is_file():
        events = _read_lines(table)
    elif jams.is_file():
        events = _timed(read_jams(jams).events())
    else:
        raise CorpusError(f"{table}: not there, nor {jams.name}; each mixture needs one (onset, offset, label)")
    label = join_labels([label for _, _, label in events], delimiter, str(path))
    return Item(path.stem, path, f"{path.resolve().parent.name}/{path.name}", label, None, events)


def _read_lines(table: Path) -> TimedLabels:
    """Onset, offset and label of every line, separated by tabs, in their order."""
    events = []
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{table}: cannot be read as text ({error})") from None
    for number, line in enumerate(lines, start=1):
        cells = line.strip().split("\t")
        if cells == [""]:
            continue
        try:
            onset, offset, label = cells
            event = Event(float(onset), float(offset), label)
        except (ValueError, EventTableError) as error:
            raise CorpusError(f"{table}, row {number}: not onset, offset and label of an event ({error})") from None
        events.append((event.onset, event.offset, event.event_label))
    return tuple(events)


def _timed(events: Sequence[Event]) -> TimedLabels:
    return tuple((event.onset, event.offset, event.event_label) for event in events)


def _with_folder(item: Item) -> str:
    return "_".join([item.source.partition("/")[0], item.audio_id])


def _targets_of_esc(root: Path) -> dict[str, int]:
    table = root / "meta" / "esc50.csv"
    if not table.is_file():
        raise CorpusError(f"{root}: no meta/esc50.csv, whose targets number the classes; name them in --label_map")
    try:
        return {category: int(target) for _, (category, target) in read_cells(table, ["category", "target"])}
    except ValueError as error:
        raise CorpusError(f"{table}: a target is no number ({error}); fetch it again") from None
