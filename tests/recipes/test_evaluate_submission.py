"""The recipe: what it refuses, what it writes, and that a browser shows its page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from broken_submissions import BROKEN, Broken
from sound_submissions import LABELS, write_evaluation_set, write_sound

from desed_task.command_line import run_recipe
from desed_task.errors import DesedTaskError
from recipes.evaluate_submission import main

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def arguments(folder: Path, *submissions: Path) -> list[str]:
    """Flags for submissions that are compared with the evaluation set in `folder`/set."""
    ground_truth, durations = write_evaluation_set(folder / "set")
    named = [word for submission in submissions for word in ("--submission", str(submission))]
    tables = ["--ground-truth", str(ground_truth), "--durations", str(durations)]
    return [*named, *tables, "--output-dir", str(folder / "out"), "--bootstrap", "10"]


def run(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of the recipe as its command line gives it."""
    monkeypatch.setattr(sys, "argv", ["evaluate_submission.py", *argv])
    with pytest.raises(SystemExit) as left:
        run_recipe(main)
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.rule)
def test_a_broken_rule_ends_with_exit_code_2_and_nothing_written(
    broken: Broken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    submission = write_sound(tmp_path)[broken.kind]
    broken.breaks(submission)
    assert run(arguments(tmp_path, submission), monkeypatch) == 2
    told = capsys.readouterr()
    place = broken.file if broken.row is None else f"{broken.file}, row {broken.row}:"
    assert place in told.err
    assert broken.says in told.err
    assert "Traceback" not in told.err
    assert told.out == ""
    assert not (tmp_path / "out").exists()


def test_faults_of_all_submissions_are_told_before_any_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = write_sound(tmp_path)
    for name in ("scores", "points"):
        next(sound[name].iterdir()).write_text("nothing")
    argv = arguments(tmp_path, *(sound[name] for name in ("events.tsv", "scores", "points")))
    assert run(argv, monkeypatch) == 2
    told = capsys.readouterr().err
    assert "scores: 1 fault" in told
    assert "points: 1 fault" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--baseline", "{package}"], "holds 2 systems"),
        (["--output-dir", "{events.tsv}"], "is no folder"),
        (["--ground-truth", "{package}/none.tsv"], "no such table"),
    ],
)
def test_flags_that_cannot_be_followed(
    flags: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sound = write_sound(tmp_path)
    filled = [re.sub(r"{(.+?)}", lambda match: str(sound[match[1]]), word) for word in flags]
    assert run([*arguments(tmp_path, sound["scores"]), *filled], monkeypatch) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("flag", [["--time-decimals", "ten"], ["--year", "2020"], ["--overlap", "keep"]])
def test_flags_with_a_value_that_is_not_known(
    flag: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([*arguments(tmp_path, tmp_path), *flag])
    assert left.value.code == 2
    assert flag[0] in capsys.readouterr().err


def test_one_system_is_written_as_json_markdown_and_one_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sound = write_sound(tmp_path)
    assert main(arguments(tmp_path, sound["scores"])) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "report.json", "report.md"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["system"], report["psds1"], report["collar_f1_macro"]) == ("scores", 1.0, 1.0)
    assert report["scorer"]["rules"] == {
        "ct_mean": "n-1",
        "overlap": "error",
        "empty_clips": "count",
        "time_decimals": 6,
    }
    assert capsys.readouterr().out == (tmp_path / "out" / "report.md").read_text() + "\n"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "PSDS1" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)


def test_a_package_and_a_baseline_make_a_leaderboard(tmp_path: Path) -> None:
    sound = write_sound(tmp_path)
    argv = arguments(tmp_path, sound["package"], sound["points"])
    assert main([*argv, "--baseline", str(sound["scores"]), "--year", "2023"]) == 0
    standings = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert [standing["system"] for standing in standings] == [*LABELS, "scores", "points"]
    by_name = {standing["system"]: standing for standing in standings}
    first = by_name[LABELS[0]]
    assert (first["num_runs"], first["ranking_score"]["value"]) == (3, 1.0)
    assert first["energy_kwh_training"] == 1.717
    # 2023: energies are corrected by .032 / .032, so nothing changes: 1.390 / 1.717
    assert first["energy_weighted_psds1_training"] == pytest.approx(1.390 / 1.717)
    assert by_name["scores"]["is_baseline"]
    assert set(by_name["points"]["against_baseline"]) == {"psds1", "psds2", "collar_f1"}
    for name in by_name:
        assert json.loads((tmp_path / "out" / name / "report.json").read_text())["system"] == name


def test_the_baseline_may_be_one_of_the_submissions_and_names_may_be_the_same(tmp_path: Path) -> None:
    sound = write_sound(tmp_path)
    other = tmp_path / "other" / "scores"
    shutil.copytree(sound["scores"], other)
    argv = arguments(tmp_path, sound["scores"], other)
    assert main([*argv, "--baseline", str(sound["scores"])]) == 0
    standings = json.loads((tmp_path / "out" / "leaderboard.json").read_text())
    assert [standing["is_baseline"] for standing in standings] == [True, False]
    assert len(list((tmp_path / "out").glob("*/report.json"))) == 2


def test_flags_may_be_spelt_with_underscores_and_name_the_rules(tmp_path: Path) -> None:
    sound = write_sound(tmp_path)
    rules = ["--ct_mean", "n", "--overlap", "allow", "--empty_clips", "leave_out", "--time_decimals", "none"]
    assert main([*arguments(tmp_path, sound["events.tsv"]), *rules]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert list(report["scorer"]["rules"].values()) == ["n", "allow", "leave_out", None]
    assert report["psds1"] is None


def test_a_single_system_replaces_the_report_of_an_earlier_evaluation(tmp_path: Path) -> None:
    sound = write_sound(tmp_path)
    for name in ("events.tsv", "points"):
        assert main(arguments(tmp_path, sound[name])) == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["system"] == "points"


def test_the_published_student(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "reference" / "dcase2021_student"
    tables = ["--ground_truth", str(folder / "validation.tsv"), "--durations", str(folder / "validation_durations.tsv")]
    flags = ["--output_dir", str(tmp_path / "out"), "--bootstrap", "20", "--year", "2022"]
    assert main(["--submission", str(folder), *tables, *flags]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (round(report["psds1"], 4), round(report["psds2"], 4)) == (0.3345, 0.5281)
    assert round(report["intersection_f1_macro"], 4) == 0.6374
    low, high = report["intervals"]["psds1"]
    assert low < report["psds1"] < high
    # (.3345 / .315 + .5281 / .547) / 2
    assert "1.014" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.slow
def test_the_recipe_as_a_command_in_a_process_of_its_own(project: Path, tmp_path: Path) -> None:
    sound = write_sound(tmp_path)
    command = [sys.executable, "recipes/evaluate_submission.py", *arguments(tmp_path, sound["scores"])]
    ran = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=240)
    assert ran.returncode == 0, ran.stderr
    assert "| scores" in ran.stdout


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no chromium is installed")
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    sound = write_sound(tmp_path)
    assert main(arguments(tmp_path, sound["package"], sound["points"])) == 0
    page = (tmp_path / "out" / "report.html").as_uri()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    assert BROWSER is not None
    ran = subprocess.run(
        [BROWSER, *flags, f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", page],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    # the script has run: only the first system's timelines are shown
    assert 'aria-pressed="true"' in ran.stdout
    assert "Uncaught" not in ran.stderr
    assert "Refused to" not in ran.stderr


def test_results_are_never_written_into_a_submission(tmp_path: Path) -> None:
    scores = write_sound(tmp_path)["scores"]
    for output_dir in (scores, scores / "report"):
        with pytest.raises(DesedTaskError, match="lies in the submission"):
            main([*arguments(tmp_path, scores), "--output-dir", str(output_dir)])
    assert sorted(path.name for path in scores.iterdir()) == ["a.tsv", "b.tsv", "c.tsv"]


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DesedTaskError, match="cannot be written to; name another"):
        main(arguments(tmp_path, write_sound(tmp_path)["scores"]))


def test_an_interrupted_evaluation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recipes.evaluate_submission.page_of", interrupt)
    assert run(arguments(tmp_path, write_sound(tmp_path)["scores"]), monkeypatch) == 130
    assert not (tmp_path / "out").exists()


def test_other_files_in_the_output_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert main(arguments(tmp_path, write_sound(tmp_path)["scores"])) == 0
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_the_published_scorers_stand_beside_every_system(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sed_eval")
    sound = write_sound(tmp_path)
    assert main([*arguments(tmp_path, sound["points"], sound["events.tsv"]), "--reference"]) == 0
    printed = capsys.readouterr().out
    for name in ("points", "events"):
        assert f"{name}, beside the published scorers" in printed
    assert "| collar_f1_micro | 0.571429 | 0.571429 | +0.00e+00 |" in printed


def test_the_page_of_several_systems_begins_with_the_leaderboard_the_best_first(tmp_path: Path) -> None:
    sound = write_sound(tmp_path)
    argv = arguments(tmp_path, sound["points"], sound["scores"])
    assert main([*argv, "--baseline", str(sound["scores"]), "--bootstrap", "50"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    board, figures = page.index('aria-label="Leaderboard"'), page.index('aria-label="Figures of all systems"')
    assert board < figures
    assert board < page.index("1. scores (baseline)") < page.index("2. points") < figures
    assert "PSDS1 less baseline" in page[board:figures]
