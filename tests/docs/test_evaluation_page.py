"""docs/evaluation.md names figures and rules that exist, and the rules' defaults."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from desed_task.metrics.report import Report
from desed_task.metrics.rules import Rules
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    return (project / "docs" / "evaluation.md").read_text(encoding="utf-8")


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    table = ("\n" + page.partition(f"\n{heading}\n")[2]).split("\n\n|", 1)[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()][2:]


def test_every_figure_is_in_the_report(page: str) -> None:
    reported = {field.name for field in fields(Report)}
    for figure, names, _ in rows(page, "## The figures"):
        found = re.findall(r"`([a-z0-9_.]+)`", names)
        assert found, figure
        for name in found:
            if name.startswith(("_", "...")):
                assert any(known.endswith(name.lstrip(".")) for known in reported), name
            else:
                assert name in reported


def test_every_switch_stands_with_its_default(page: str) -> None:
    table = {row[0].strip("`"): row[1] for row in rows(page, "## The rules")}
    assert table.keys() == {field.name for field in fields(Rules)}
    for name, default in vars(Rules()).items():
        assert table[name].startswith(f"`{default}`:"), name


@pytest.mark.parametrize(("number", "scenario"), [("1", PSDS_SCENARIO_1), ("2", PSDS_SCENARIO_2)])
def test_the_scenarios_are_those_that_are_computed(page: str, number: str, scenario: PsdsScenario) -> None:
    row = next(row for row in rows(page, "### PSDS") if row[0] == number)
    criteria = scenario.criteria
    cttc = f"{criteria.cttc:g}" if scenario.alpha_ct else "-"
    assert row[1:] == [
        f"{criteria.dtc:g}",
        f"{criteria.gtc:g}",
        cttc,
        f"{scenario.alpha_ct:g}",
        f"{scenario.alpha_st:g}",
    ]
