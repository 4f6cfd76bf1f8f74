"""What comes by mail: archives in archives, ways that lead out, links, desktop files, and tables in the wrong unit."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from sound_submissions import DURATIONS, LABELS, write_evaluation_set, write_lines, write_scores, write_sound

from desed_task.errors import SubmissionError
from desed_task.submission.checking import SubmittedSystem
from desed_task.submission.evaluation_set import EvaluationSet, read_evaluation_set
from desed_task.submission.packages import open_submission


@pytest.fixture
def evaluation_set(tmp_path: Path) -> EvaluationSet:
    return read_evaluation_set(*write_evaluation_set(tmp_path / "set"))


def opened(path: Path, evaluation_set: EvaluationSet) -> tuple[SubmittedSystem, ...]:
    with open_submission(path, evaluation_set) as submission:
        return submission.systems


def fault(path: Path, evaluation_set: EvaluationSet) -> str:
    with pytest.raises(SubmissionError) as raised:
        opened(path, evaluation_set)
    return str(raised.value).splitlines()[-1]


def packed(archive: Path, folder: Path, **more: bytes) -> Path:
    with zipfile.ZipFile(archive, "w") as package:
        for path in sorted(folder.rglob("*.*")):
            if path.is_file():
                package.write(path, f"{folder.name}/{path.relative_to(folder)}")
        for name, content in more.items():
            package.writestr(name, content)
    return archive


@pytest.mark.parametrize("name", ["../../evil.tsv", "/evil.tsv", "package/../../evil.tsv", "..\\evil.tsv"])
def test_an_entry_that_leads_out_of_the_archive_is_refused(
    name: str, tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    archive = packed(tmp_path / "p.zip", write_sound(tmp_path)["package"], **{name: b"x"})
    assert "leads out of the archive" in fault(archive, evaluation_set)
    assert not list(tmp_path.parent.rglob("evil.tsv"))


def test_an_archive_without_its_end_is_called_one(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    archive = packed(tmp_path / "p.zip", write_sound(tmp_path)["package"])
    archive.write_bytes(archive.read_bytes()[:2000])
    assert "whose end is missing" in fault(archive, evaluation_set)


def test_archives_in_an_archive_are_told(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    (tmp_path / "outer").mkdir()
    packed(tmp_path / "outer" / "inner.zip", write_sound(tmp_path)["package"])
    assert "it holds archives, such as outer/inner.zip: unpack them" in fault(
        packed(tmp_path / "p.zip", tmp_path / "outer"), evaluation_set
    )


def test_what_file_managers_leave_is_passed_over(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    scores = write_sound(tmp_path)["scores"].rename(tmp_path / "Süße Größe 1")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/._a.tsv"):
        (scores / name).parent.mkdir(exist_ok=True)
        (scores / name).write_bytes(b"\0\1")
    for path in (scores, packed(tmp_path / "mit Umläuten.zip", scores)):
        assert [run.clips for run in opened(path, evaluation_set)[0].runs] == [("a", "b", "c")]


def test_links_to_runs_are_followed_but_never_in_a_circle(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    write_scores(tmp_path / "elsewhere")
    system = tmp_path / "package" / LABELS[0]
    write_scores(system / "run1")
    (system / "run2").symlink_to(tmp_path / "elsewhere")
    (system / "circle").symlink_to(tmp_path / "package")
    (found,) = opened(tmp_path / "package", evaluation_set)
    assert [run.name for run in found.runs] == ["run1", "run2"]


def test_a_link_to_nothing_is_a_table_that_cannot_be_read(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    scores = write_sound(tmp_path)["scores"]
    (scores / "a.tsv").unlink()
    (scores / "a.tsv").symlink_to(tmp_path / "nothing.tsv")
    assert "a.tsv: cannot be read" in fault(scores, evaluation_set)


def test_many_clips_of_another_set_are_one_sentence(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    sound = write_sound(tmp_path)
    rows = [(f"x{number}.wav", 0, 1, "Cat") for number in range(50)]
    with sound["events.tsv"].open("a") as stream:
        stream.writelines("\t".join(map(str, row)) + "\n" for row in rows)
    assert "row 5: x0.wav and 49 other clips are not in" in fault(sound["events.tsv"], evaluation_set)
    for number in range(50):
        (sound["scores"] / f"x{number:02d}.tsv").touch()
    assert "x00.tsv: x00 and 49 other clips are not in" in fault(sound["scores"], evaluation_set)


def test_durations_that_are_not_in_seconds_are_suspected(tmp_path: Path) -> None:
    ground_truth, durations = write_evaluation_set(tmp_path / "set")
    in_milliseconds = ((name, 1000 * seconds) for name, seconds in DURATIONS.items())
    write_lines(durations, ("filename", "duration"), *in_milliseconds)
    evaluation_set = read_evaluation_set(ground_truth, durations)
    for name in ("points", "events.tsv"):
        (system,) = opened(write_sound(tmp_path)[name], evaluation_set)
        assert "if the durations are not in seconds" in system.runs[0].notes[0]
    assert "before the clip does at" in fault(tmp_path / "scores", evaluation_set)


def test_a_yaml_that_is_no_meta_is_noted(tmp_path: Path, evaluation_set: EvaluationSet) -> None:
    package = write_sound(tmp_path)["package"]
    (package / LABELS[0] / "config.yaml").write_text("training: {lr: 0.001}\n")
    first, second = opened(package, evaluation_set)
    assert first.meta is not None
    assert first.notes == ("config.yaml: no section `submission`, so it is no meta and was not read",)
    assert second.notes == ()


def test_scores_that_are_no_fractions_say_so_unless_decisions_are_there(
    tmp_path: Path, evaluation_set: EvaluationSet
) -> None:
    write_scores(tmp_path / "run" / "scores", shift=0.5)
    (system,) = opened(tmp_path / "run", evaluation_set)
    assert system.runs[0].notes[0].startswith("scores from 0.6 to 1.4, not within 0 and 1: F1s at one threshold are")
    write_sound(tmp_path)["events.tsv"].rename(tmp_path / "run" / "detections.tsv")
    (system,) = opened(tmp_path / "run", evaluation_set)
    assert system.runs[0].notes == ()
