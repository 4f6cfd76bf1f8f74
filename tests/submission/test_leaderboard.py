"""The leaderboard: order, ranks, what is shown and what is not."""

from __future__ import annotations

import json

import pytest

from desed_task.submission.leaderboard import (
    Figure,
    PairedDifference,
    Standing,
    format_count,
    format_energy,
    format_figure,
    format_leaderboard,
    format_number,
    leaderboard_json,
    sort_standings,
)


def standing(system: str, score: float | None, **others: object) -> Standing:
    return Standing(system, 10, 10, ranking_score=Figure(score), **others)  # type: ignore[arg-type]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_highest_ranking_score_comes_first_and_none_last() -> None:
    rows = [standing("low", 1.0), standing("none", None), standing("nan", float("nan")), standing("high", 1.5)]
    assert [(rank, s.system) for rank, s in sort_standings(rows)] == [
        (1, "high"),
        (2, "low"),
        (None, "none"),
        (None, "nan"),
    ]


def test_equal_scores_share_a_rank() -> None:
    rows = [standing("a", 1.0), standing("b", 1.5), standing("c", 1.5), standing("d", 0.5)]
    assert [(rank, s.system) for rank, s in sort_standings(rows)] == [(1, "b"), (1, "c"), (3, "a"), (4, "d")]


def test_the_json_holds_every_figure_and_null_where_undefined() -> None:
    full = standing(
        "ours",
        1.2,
        psds1=Figure(0.35, 0.004, (0.34, 0.36)),
        against_baseline={"psds1": PairedDifference(0.02, (0.01, 0.03), 0.004)},
        macs_per_10_s=930_902_000,
    )
    first, second = json.loads(json.dumps(leaderboard_json([standing("x", float("nan")), full]), allow_nan=False))
    assert (first["rank"], first["system"], first["files_present"]) == (1, "ours", 10)
    assert first["psds1"] == {"value": 0.35, "std": 0.004, "interval": [0.34, 0.36]}
    assert first["against_baseline"]["psds1"] == {"difference": 0.02, "interval": [0.01, 0.03], "p_value": 0.004}
    assert first["macs_per_10_s"] == 930_902_000
    assert second["rank"] is None
    assert second["ranking_score"]["value"] is None


def test_the_table_shows_figures_with_spread_and_interval() -> None:
    row = standing(
        "ours",
        1.23456,
        psds1=Figure(0.35149, 0.0041, (0.34, 0.36)),
        energy_kwh_training=1.717,
        energy_kwh_test=0.0301,
        macs_per_10_s=930_902_000,
        num_parameters=1_112_420,
    )
    header, _, line, *_ = format_leaderboard([row]).splitlines()
    shown = dict(zip(cells(header), cells(line), strict=True))
    assert shown == {
        "rank": "1",
        "system": "ours",
        "ranking score": "1.235",
        "PSDS1": "0.351 ± 0.004 [0.340, 0.360]",
        "kWh training": "1.72",
        "kWh test": "0.0301",
        "MACs / 10 s": "931 M",
        "parameters": "1.11 M",
        "files": "10/10",
    }


def test_what_one_system_lacks_is_an_en_dash() -> None:
    rows = [standing("a", 1.5, psds2=Figure(0.5)), standing("b", None)]
    header, _, _, line, *_ = format_leaderboard(rows).splitlines()
    shown = dict(zip(cells(header), cells(line), strict=True))
    assert (shown["rank"], shown["ranking score"], shown["PSDS2"]) == ("–", "–", "–")


def test_a_significant_difference_is_starred() -> None:
    rows = [
        standing("better", 1.5, against_baseline={"psds1": PairedDifference(0.05, (0.01, 0.09), 0.0004)}),
        standing("same", 1.1, against_baseline={"psds1": PairedDifference(-0.01, (-0.03, 0.01), 0.31)}),
        standing("base", 1.0, is_baseline=True),
    ]
    text = format_leaderboard(rows)
    assert "+0.050 [0.010, 0.090] (p < 0.001) *" in text
    assert "−0.010 [−0.030, 0.010] (p = 0.310) " in text
    assert "(p = 0.310) *" not in text
    assert "base (baseline)" in text
    assert "differs from the baseline" in text


@pytest.mark.parametrize(
    ("difference", "significant"),
    [
        (PairedDifference(0.1, (0.0, 0.2)), False),
        (PairedDifference(-0.1, (-0.2, -0.01)), True),
        (PairedDifference(0.1, None, 0.049), True),
        (PairedDifference(0.1, None, 0.05), False),
        (PairedDifference(0.1), False),
    ],
)
def test_when_a_difference_is_significant(difference: PairedDifference, significant: bool) -> None:
    assert difference.is_significant is significant


def test_missing_files_are_said_beside_the_score_and_below() -> None:
    text = format_leaderboard([Standing("short", 1100, 1168, ranking_score=Figure(1.0))])
    assert "1100/1168 incomplete" in text
    assert "short: 1100 of 1168 files present: not comparable with the others" in text


def test_names_cannot_break_the_table() -> None:
    text = format_leaderboard([standing("a|b\n<script>", 1.0, remarks=("see <b>",))])
    assert "a\\|b &lt;script>" in text
    assert "<script>" not in text
    assert "see &lt;b>" in text


def test_numbers_as_text() -> None:
    assert [format_number(v) for v in (None, float("nan"), 0.0005, -0.25)] == ["–", "–", "0.001", "−0.250"]
    assert format_figure(Figure(None)) == "–"
    assert [format_count(v) for v in (None, 999, 1234, 999_900_000, 10.5e12)] == ["–", "999", "1.23 k", "1 G", "10.5 T"]
    assert [format_energy(v) for v in (None, 0, 0.0301, 27.2, 151.0, 4412.0)] == [
        "–",
        "0",
        "0.0301",
        "27.2",
        "151",
        "4412",
    ]
