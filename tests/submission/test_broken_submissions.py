"""Every rule, broken by a small submission: one sentence with file and row, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from broken_submissions import BROKEN, Broken, five_systems
from sound_submissions import LABELS, write_evaluation_set, write_lines, write_sound

from desed_task.errors import DesedTaskError, SubmissionError
from desed_task.metrics.rules import Rules
from desed_task.submission.evaluation_set import EvaluationSet, read_evaluation_set
from desed_task.submission.packages import MAX_SYSTEMS_2024, open_submission


@pytest.fixture
def evaluation_set(tmp_path: Path) -> EvaluationSet:
    return read_evaluation_set(*write_evaluation_set(tmp_path / "set"))


def faults_of(path: Path, evaluation_set: EvaluationSet) -> list[str]:
    with pytest.raises(SubmissionError) as raised, open_submission(path, evaluation_set):
        pass
    return [line.strip() for line in str(raised.value).splitlines()]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.rule)
def test_a_broken_rule_is_told_with_file_and_row(broken: Broken, tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    submission = write_sound(tmp_path)[broken.kind]
    broken.breaks(submission)
    told = faults_of(submission, evaluation_set)
    sentences = told[1:] if "nothing was scored" in told[0] else told
    assert len(sentences) == 1, sentences
    place = broken.file if broken.row is None else f"{broken.file}, row {broken.row}"
    assert sentences[0].partition(": ")[0].endswith(place)
    assert broken.says in sentences[0]
    assert ";" in sentences[0], "no remedy"


def test_at_least_twenty_five_rules_have_a_test() -> None:
    assert len({broken.rule for broken in BROKEN}) == len(BROKEN) >= 25


def test_all_faults_are_told_at_once_twenty_at_most(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    scores = write_sound(tmp_path)["scores"]
    for number in range(30):
        (scores / f"note_{number:02d}.txt").touch()
    told = faults_of(scores, evaluation_set)
    assert told[0].endswith("30 faults, nothing was scored")
    assert len(told) == 22
    assert told[-1] == "and 10 more"


def test_faults_in_an_archive_are_told_by_their_place_in_it(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    package = write_sound(tmp_path)["package"]
    (package / LABELS[0] / f"{LABELS[0]}_run1.output" / "a.tsv").write_text("onset\toffset\tCat\tDog\n0\t10\t1\tx\n")
    archive = zipped(package)
    told = faults_of(archive, evaluation_set)
    assert told[1].startswith(f"{archive}/package/{LABELS[0]}/{LABELS[0]}_run1.output/a.tsv, row 2: Dog 'x'")


@pytest.mark.parametrize("content", [b"hello", b"PK\x05\x06" + b"\0" * 18])
def test_a_file_that_is_no_package_is_refused(content: bytes, tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    (tmp_path / "package.zip").write_bytes(content)
    assert "package.zip" in faults_of(tmp_path / "package.zip", evaluation_set)[0]


def test_a_cut_archive_is_refused(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    archive = zipped(write_sound(tmp_path)["package"])
    content = bytearray(archive.read_bytes())
    content[200:400] = bytes(200)
    archive.write_bytes(content)
    assert "cannot be unpacked" in faults_of(archive, evaluation_set)[0]


def test_eight_systems_are_allowed_in_2024(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    package = write_sound(tmp_path)["package"]
    five_systems(package)
    with open_submission(package, evaluation_set, MAX_SYSTEMS_2024) as submission:
        assert len(submission.systems) == 5


def test_overlapping_events_are_taken_where_the_rules_say_what_to_do_with_them(tmp_path: Path) -> None:
    evaluation_set = read_evaluation_set(*write_evaluation_set(tmp_path / "set"), Rules(overlap="merge"))
    events = write_sound(tmp_path)["events.tsv"]
    with events.open("a") as stream:
        stream.write("b.wav\t6.5\t8\tDog\n")
    with open_submission(events, evaluation_set) as submission:
        assert submission.systems[0].runs[0].events is not None


@pytest.mark.parametrize(
    ("table", "rows", "says"),
    [
        ("ground_truth.tsv", (("filename", "onset", "offset"),), "no column 'event_label'"),
        ("ground_truth.tsv", (("filename", "onset", "offset", "event_label"),), "no event is listed"),
        ("ground_truth.tsv", (("filename", "onset", "offset", "event_label"), ("z.wav", 0, 1, "Cat")), "z is not in"),
        (
            "ground_truth.tsv",
            (("filename", "onset", "offset", "event_label"), ("a.wav", 0, 2, "Cat"), ("a.wav", 1, 3, "Cat")),
            "overlap",
        ),
        ("durations.tsv", (("filename", "seconds"),), "no column 'duration'"),
        ("durations.tsv", (("filename", "duration"),), "no clip is listed"),
        ("durations.tsv", (("filename", "duration"), ("a.wav", 0)), "row 2"),
    ],
)
def test_an_evaluation_set_that_cannot_be_used_is_refused(
    table: str, rows: tuple[tuple[object, ...], ...], says: str, tmp_path: Path
) -> None:
    tables = write_evaluation_set(tmp_path)
    write_lines(tmp_path / table, *rows)
    with pytest.raises(DesedTaskError, match=says):
        read_evaluation_set(*tables)


def zipped(folder: Path) -> Path:
    """The folder as an archive beside it, inside a folder of its own name."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as package:
        for path in sorted(folder.rglob("*")):
            package.write(path, path.relative_to(folder.parent))
    return archive
