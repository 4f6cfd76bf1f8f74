"""The table of broken rules: one submission each, which breaks exactly one, and what must be said about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sound_submissions import LABELS, META, write_lines, write_scores

FIRST, SECOND = LABELS
RUN_1, RUN_2 = f"{FIRST}/{FIRST}_run1.output", f"{FIRST}/{FIRST}_run2.output"
RAW_1 = f"{FIRST}/{FIRST}_run1_unprocessed.output"
RAW_2 = f"{FIRST}/{FIRST}_run2_unprocessed.output"
YAML_1 = f"{FIRST}/{FIRST}.meta.yaml"


@dataclass(frozen=True)
class Broken:
    """`breaks` spoils the sound submission `kind`; the sentence names `file` and `row` and contains `says`."""

    rule: str
    kind: str
    breaks: Callable[[Path], object]
    file: str
    row: int | None
    says: str


def replaced(file: str, old: str, new: str) -> Callable[[Path], object]:
    """In one file, the first occurrence of a text becomes another."""

    def breaks(submission: Path) -> None:
        path = submission / file if file else submission
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return breaks


def appended(file: str, line: str) -> Callable[[Path], object]:
    """One file gets one more line."""

    def breaks(submission: Path) -> None:
        with (submission / file if file else submission).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    return breaks


def overwritten(file: str, content: bytes) -> Callable[[Path], object]:
    """One file has this content."""
    return lambda submission: (submission / file if file else submission).write_bytes(content)


def copied(file: str, to: str) -> Callable[[Path], object]:
    """A file or folder is there twice."""

    def breaks(submission: Path) -> None:
        if (submission / file).is_dir():
            shutil.copytree(submission / file, submission / to)
        else:
            shutil.copy(submission / file, submission / to)

    return breaks


def moved(file: str, to: str) -> Callable[[Path], object]:
    """A file or folder has another name."""
    return lambda submission: (submission / file).rename(submission / to)


def removed(file: str) -> Callable[[Path], object]:
    """A file or folder is gone."""

    def breaks(submission: Path) -> None:
        path = submission / file if file else submission
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return breaks


def without_threshold(submission: Path) -> None:
    for old, new in (("0.25", "0.25"), ("0.50", "0.50"), ("0.75", "first")):
        (submission / f"predictions_th_{old}.tsv").rename(submission / f"{new}.tsv")


def other_classes(submission: Path) -> None:
    for folder in (RUN_2, RAW_2):
        for path in (submission / folder).iterdir():
            path.write_text(path.read_text().replace("Cat\tDog", "Dog\tCat"))


def one_clip_less(submission: Path) -> None:
    for folder in (RUN_2, RAW_2):
        (submission / folder / "b.tsv").unlink()


def five_systems(submission: Path) -> None:
    for number in (3, 4, 5):
        write_scores(submission / f"Tester_LAB_task4_{number}" / "run1.output")


def no_outputs(submission: Path) -> None:
    shutil.rmtree(submission)
    submission.mkdir()
    (submission / "report.pdf").write_bytes(b"%PDF-1.4")


def other_clips(submission: Path) -> None:
    for path in submission.iterdir():
        path.rename(path.with_name(f"other_{path.name}"))


def other_clips_in_events(submission: Path) -> None:
    write_lines(
        submission,
        ("filename", "onset", "offset", "event_label"),
        ("x.wav", 0, 1, "Cat"),
        ("y.wav", 0, 1, "Cat"),
    )


BROKEN = [
    # Score tables: columns
    Broken("no offset column", "scores", replaced("b.tsv", "onset\toffset", "onset\tend"), "b.tsv", 1, "columns"),
    Broken(
        "times after the classes",
        "scores",
        replaced("b.tsv", "onset\toffset\tCat", "Cat\tonset\toffset"),
        "b.tsv",
        1,
        "columns",
    ),
    Broken("no class", "scores", overwritten("b.tsv", b"onset\toffset\n0\t10\n"), "b.tsv", 1, "columns"),
    Broken(
        "separated by commas",
        "scores",
        overwritten("b.tsv", b"onset,offset,Cat,Dog\n0,10,1,1\n"),
        "b.tsv",
        1,
        "separated by tabs",
    ),
    Broken(
        "a class of the ground truth is missing",
        "scores",
        lambda s: [replaced(f"{n}.tsv", "Dog", "Dgo")(s) for n in "abc"],
        "a.tsv",
        1,
        "'Dog'",
    ),
    Broken("a class stands twice", "scores", replaced("b.tsv", "Cat\tDog", "Cat\tCat"), "b.tsv", 1, "twice"),
    Broken("a backslash in a class", "scores", replaced("b.tsv", "Dog", "Do\\g"), "b.tsv", 1, "backslash"),
    Broken(
        "other classes than in the first table",
        "scores",
        replaced("b.tsv", "Cat\tDog", "Cat\tCow"),
        "b.tsv",
        1,
        "other classes than in a.tsv",
    ),
    Broken(
        "classes in another order", "scores", replaced("b.tsv", "Cat\tDog", "Dog\tCat"), "b.tsv", 1, "another order"
    ),
    # Score tables: windows
    Broken("a gap between windows", "scores", replaced("a.tsv", "4\t6\t", "4.5\t6\t"), "a.tsv", 3, "gap"),
    Broken("windows overlap", "scores", replaced("a.tsv", "4\t6\t", "3.5\t6\t"), "a.tsv", 3, "overlaps"),
    Broken(
        "windows not in order",
        "scores",
        replaced("a.tsv", "8\t9.9\t", "2\t4\t"),
        "a.tsv",
        5,
        "begins before the window above",
    ),
    Broken("a window of no length", "scores", replaced("a.tsv", "4\t6\t", "4\t4\t"), "a.tsv", 3, "no length"),
    Broken(
        "a window that ends before it begins",
        "scores",
        replaced("a.tsv", "4\t6\t", "4\t3\t"),
        "a.tsv",
        3,
        "lies before onset",
    ),
    Broken("windows do not begin at 0", "scores", replaced("a.tsv", "\n0\t4", "\n0.5\t4"), "a.tsv", 2, "begin at 0"),
    Broken("windows beyond every clip", "scores", replaced("a.tsv", "8\t9.9\t", "8\t11\t"), "a.tsv", 5, "beyond"),
    Broken(
        "windows end before the clip",
        "scores",
        replaced("a.tsv", "8\t9.9\t", "8\t9\t"),
        "a.tsv",
        5,
        "before the clip does",
    ),
    # Score tables: cells and files
    Broken(
        "a cell that is no number", "scores", replaced("c.tsv", "0.6", "high"), "c.tsv", 3, "Cat 'high' is not a number"
    ),
    Broken("an empty cell", "scores", replaced("c.tsv", "0.6", ""), "c.tsv", 3, "Cat '' is not a number"),
    Broken("a cell that is NaN", "scores", replaced("c.tsv", "0.6", "nan"), "c.tsv", 3, "not finite"),
    Broken("an infinite cell", "scores", replaced("c.tsv", "0.6", "-inf"), "c.tsv", 3, "not finite"),
    Broken("a cell too many", "scores", replaced("c.tsv", "0.6", "0.6\t0.6"), "c.tsv", 3, "5 cells under 4 columns"),
    Broken("a cell too few", "scores", replaced("c.tsv", "0.6\t", ""), "c.tsv", 3, "3 cells under 4 columns"),
    Broken("an empty file", "scores", overwritten("b.tsv", b""), "b.tsv", None, "empty"),
    Broken(
        "a header only", "scores", overwritten("b.tsv", b"onset\toffset\tCat\tDog\n"), "b.tsv", 1, "without any window"
    ),
    Broken(
        "not UTF-8", "scores", overwritten("b.tsv", b"onset\toffset\tCat\tDog\n0\t10\t\xe9\t1\n"), "b.tsv", 2, "UTF-8"
    ),
    Broken("a binary file", "scores", overwritten("b.tsv", b"\x93NUMPY\x00\x01"), "b.tsv", None, "binary"),
    # Score folders
    Broken(
        "a clip without a duration", "scores", copied("a.tsv", "z.tsv"), "z.tsv", None, "not in the table of durations"
    ),
    Broken("a file that is no table", "scores", overwritten("notes.txt", b"hello"), "notes.txt", None, "none"),
    Broken("a folder among the tables", "scores", lambda s: (s / "more").mkdir(), "more", None, "none"),
    Broken("two tables of one clip", "scores", copied("a.tsv", "a.TSV"), "a.tsv", None, "a.TSV"),
    Broken("no clip of the set", "scores", other_clips, "scores", None, "none of its 3 clips"),
    # Event lists
    Broken(
        "no event_label column",
        "events.tsv",
        replaced("", "event_label", "label"),
        "events.tsv",
        1,
        "no column 'event_label'",
    ),
    Broken(
        "an offset not after its onset",
        "events.tsv",
        replaced("", "0.1\t4.0", "4.1\t4.0"),
        "events.tsv",
        2,
        "is not after onset",
    ),
    Broken("a negative onset", "events.tsv", replaced("", "0.1\t4.0", "-0.1\t4.0"), "events.tsv", 2, "negative"),
    Broken(
        "an event beyond every clip", "events.tsv", replaced("", "2.1\t7.0", "2.1\t70.0"), "events.tsv", 3, "beyond"
    ),
    Broken("a class that is not of the set", "events.tsv", replaced("", "Dog", "Cow"), "events.tsv", 3, "class 'Cow'"),
    Broken("a time that is no number", "events.tsv", replaced("", "2.1", "soon"), "events.tsv", 3, "'soon'"),
    Broken("half an event", "events.tsv", replaced("", "2.1\t7.0", "2.1\t"), "events.tsv", 3, "half an event"),
    Broken("an event without a file", "events.tsv", replaced("", "b.wav", ""), "events.tsv", 3, "filename is empty"),
    Broken(
        "the same event twice",
        "events.tsv",
        appended("", "b.wav\t2.1\t7.0\tDog"),
        "events.tsv",
        5,
        "same event as in row 3",
    ),
    Broken("events of a class overlap", "events.tsv", appended("", "b.wav\t6.5\t8\tDog"), "events.tsv", 5, "overlaps"),
    Broken(
        "an event of a clip without a duration",
        "events.tsv",
        replaced("", "b.wav", "z.wav"),
        "events.tsv",
        3,
        "not in the table of durations",
    ),
    Broken("no clip of the set in events", "events.tsv", other_clips_in_events, "events.tsv", 2, "none of the 2 clips"),
    Broken("a binary event list", "events.tsv", overwritten("", b"filename\tonset\x00"), "events.tsv", None, "binary"),
    # Operating points
    Broken(
        "no threshold in a file name",
        "points",
        without_threshold,
        "first.tsv",
        None,
        "no threshold",
    ),
    Broken(
        "a threshold twice",
        "points",
        copied("predictions_th_0.25.tsv", "predictions_th_0.250.tsv"),
        "predictions_th_0.250.tsv",
        None,
        "predictions_th_0.25.tsv",
    ),
    Broken(
        "a threshold beyond 1",
        "points",
        moved("predictions_th_0.75.tsv", "predictions_th_1.75.tsv"),
        "predictions_th_1.75.tsv",
        None,
        "not in [0, 1]",
    ),
    Broken(
        "a fault in one point",
        "points",
        replaced("predictions_th_0.50.tsv", "Dog", "Cow"),
        "predictions_th_0.50.tsv",
        3,
        "class 'Cow'",
    ),
    # Packages
    Broken("no system", "package", no_outputs, "package", None, "no system in it"),
    Broken("more than four systems", "package", five_systems, "package", None, "5 systems, more than 4"),
    Broken(
        "a system without outputs",
        "package",
        lambda s: [removed(f"{FIRST}/{p.name}")(s) for p in (s / FIRST).iterdir() if p.is_dir()],
        FIRST,
        None,
        "no scores",
    ),
    Broken("raw scores without post-processed ones", "package", removed(RUN_1), RAW_1, None, "without post-processed"),
    Broken("runs on different classes", "package", other_classes, RUN_2, None, "other classes than in"),
    Broken("runs on different clips", "package", one_clip_less, RUN_2, None, "no table of b"),
    Broken("raw scores of other clips", "package", removed(f"{RAW_1}/b.tsv"), RAW_1, None, "no table of b"),
    Broken(
        "a fault in a raw table", "package", replaced(f"{RAW_1}/a.tsv", "0.9", "x"), f"{RAW_1}/a.tsv", 2, "not a number"
    ),
    Broken(
        "two folders for one run", "package", copied(RUN_1, f"{FIRST}/run1"), f"{FIRST}/run1", None, "holds the same"
    ),
    Broken(
        "a meta file that is no YAML",
        "package",
        overwritten(YAML_1, b"submission:\n  label: [\n"),
        YAML_1,
        2,
        "not valid YAML",
    ),
    Broken(
        "a meta file without its section", "package", overwritten(YAML_1, b"system: {}\n"), YAML_1, None, "`submission`"
    ),
    Broken(
        "a meta file without a label",
        "package",
        overwritten(YAML_1, b"submission: {name: x}\n"),
        YAML_1,
        None,
        "submission.label",
    ),
    Broken(
        "a label that is not the folder's",
        "package",
        overwritten(YAML_1, META.format(label=SECOND).encode()),
        YAML_1,
        None,
        "is not the folder's",
    ),
    Broken(
        "an energy that is no number",
        "package",
        replaced(YAML_1, "1.717 kWh", "little"),
        YAML_1,
        None,
        "'little' is not a number",
    ),
    # Paths
    Broken("a path that is not there", "scores", removed(""), "scores", None, "no such file or folder"),
]
