"""The published scorers beside a submission's own figures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sound_submissions import write_evaluation_set, write_sound

from desed_task.metrics.reference import scorer_versions
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.submission.evaluation import Measuring, evaluate_system
from desed_task.submission.evaluation_set import read_evaluation_set
from desed_task.submission.packages import open_submission
from desed_task.submission.references import side_by_side


def table_of(name: str, folder: Path, rules: Rules = DEFAULT_RULES) -> tuple[str, dict[str, list[str]]]:
    """The text, and figure -> ours, reference, difference, scorer."""
    evaluation_set = read_evaluation_set(*write_evaluation_set(folder / "set"), rules)
    measuring = Measuring(num_samples=0)
    with open_submission(write_sound(folder)[name], evaluation_set) as submission:
        system = evaluate_system("mine", submission.systems[0], evaluation_set, measuring)
        text = side_by_side(system, evaluation_set, measuring)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return text, {row[0]: row[1:] for row in rows[2:]}


LEAVE_OUT = Rules(empty_clips="leave_out")


@pytest.mark.parametrize(
    ("name", "rules"),
    [("scores", DEFAULT_RULES), ("points", LEAVE_OUT), ("events.tsv", LEAVE_OUT), ("package", DEFAULT_RULES)],
)
def test_installed_scorers_agree(name: str, rules: Rules, tmp_path: Path) -> None:
    text, rows = table_of(name, tmp_path, rules)
    asked = {"scores": "psds1", "points": "psds1", "events.tsv": "collar_f1_macro", "package": "psds1"}
    assert asked[name] in rows
    installed = {package for package, version in scorer_versions().items() if version is not None}
    for figure, (ours, theirs, _, scorer, *_) in rows.items():
        if scorer.split()[0] in installed and not figure.startswith(("nopsds", "segment_auroc", "segment_pauroc")):
            assert float(ours) == pytest.approx(float(theirs), abs=2e-6), figure
    assert ("run" in text.splitlines()[0]) == (name == "package")


def test_a_scorer_that_is_not_installed_is_a_row_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sed_eval", None)
    _, rows = table_of("events.tsv", tmp_path)
    assert rows["collar_f1_macro"][1] == "-"
    assert "no value: " in rows["collar_f1_macro"][4]
