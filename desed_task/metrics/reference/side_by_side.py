"""Our figures beside those of every installed scorer, and why the two may differ.

A scorer that is not installed, refuses the data or fails leaves a row with the reason instead of a value: it must not
cost the report. Figures go by their names in `report.json`:

    psds1 psds2 nopsds1 nopsds2                                   scores; without them, psds1 and psds2 of the points
    psds1_sampled psds2_sampled                                   operating points
    collar_f1_best_macro segment_f1_best_macro intersection_f1_best_macro segment_auroc segment_pauroc      scores
    collar_f1_macro collar_f1_micro segment_f1_macro segment_f1_micro intersection_f1_macro                 detections
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tqdm import tqdm

from desed_task.errors import DesedTaskError
from desed_task.events import EventTable, audio_id_of
from desed_task.metrics.counts import F1
from desed_task.metrics.reference import by_psds_eval, by_sed_eval, by_sed_scores_eval
from desed_task.metrics.reference.packages import version_of
from desed_task.metrics.rules import DEFAULT_RULES, Rules
from desed_task.metrics.scenarios import MPAUC_MAX_FPR, PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario
from desed_task.scores import ScoreTable

_SAME = "none expected"
_FLOATS = "times compared as floats; ours as whole ticks: a decision at the edge of a criterion may differ"
_COLLAR = "times compared as floats: a pair at the edge of the collar may differ"
_SEGMENTS = "sed_eval's segments end with a clip's last event, ours with the clip"
_AREA = "version 0.0.4 sums a staircase, which ranks ties against the system"


@dataclass(frozen=True)
class ComparedFigure:
    """A figure as we and as an outside scorer compute it, None where undefined; note: why the two may differ."""

    figure: str
    ours: float | None
    reference: float | None
    package: str
    version: str | None
    note: str

    @property
    def difference(self) -> float | None:
        """Ours less theirs."""
        return None if self.ours is None or self.reference is None else self.ours - self.reference


def compare(
    ours: Mapping[str, Any],
    ground_truth: EventTable,
    durations: Mapping[str, float],
    *,
    scores: Mapping[str, ScoreTable] | None = None,
    points: Mapping[float, EventTable] | None = None,
    detections: EventTable | None = None,
    rules: Rules = DEFAULT_RULES,
) -> list[ComparedFigure]:
    """Score again, with every scorer that knows a figure of `ours` (see the names on top; other keys are passed over).

    durations: filename -> seconds of the evaluated clips. scores: post-processed, audio_id -> table; points: threshold
    -> detections; detections: those of one operating point; what is not given is not compared. rules: those under which
    ours was computed; the notes say where a scorer knows another one.
    """
    data = _Data(ground_truth, durations, scores, points, detections, rules)
    todo = [(figure, *scorer) for figure in ours for scorer in _scorers(figure, data)]
    rows = []
    for figure, package, note, score in tqdm(todo, desc="reference scorers", unit="figure", disable=None):
        try:
            value, said = score(), note
        except Exception as error:  # an outside scorer: its failure is an answer, and not ours
            kind = "" if isinstance(error, DesedTaskError) else f"{type(error).__name__}: "
            value, said = None, f"no value: {kind}{' '.join(str(error).split())}"
        rows.append(ComparedFigure(figure, ours[figure], value, package, version_of(package), said))
    return rows


def format_comparison(rows: list[ComparedFigure]) -> str:
    """Markdown: one row per figure and scorer."""
    cells = [("figure", "ours", "reference", "difference", "scorer", "why they may differ")]
    for row in rows:
        scorer = f"{row.package} {row.version or '(not installed)'}"
        difference = "-" if row.difference is None else f"{row.difference:+.2e}"
        cells.append((row.figure, _fraction(row.ours), _fraction(row.reference), difference, scorer, row.note))
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells]
    return "\n".join((lines[0], "|" + "---|" * len(cells[0]), *lines[1:])) + "\n"


@dataclass(frozen=True, eq=False)
class _Data:
    """Every scorer sees the same clips: those of `durations`, or of these the ones with events."""

    ground_truth: EventTable
    durations: Mapping[str, float]
    scores: Mapping[str, ScoreTable] | None
    points: Mapping[float, EventTable] | None
    detections: EventTable | None
    rules: Rules

    @cached_property
    def truth(self) -> EventTable:
        return self.of_clips(self.ground_truth)

    @cached_property
    def seconds(self) -> Mapping[str, float]:
        if self.rules.empty_clips == "count":
            return self.durations
        events = self.ground_truth.by_audio_id()
        return {name: seconds for name, seconds in self.durations.items() if events.get(audio_id_of(name))}

    def of_clips(self, table: EventTable) -> EventTable:
        """Events of the evaluated clips."""
        events = table.by_audio_id()
        return EventTable({name: events.get(audio_id_of(name), ()) for name in self.seconds})


_Scorer = tuple[str, str, Callable[[], float | None]]  # package, note, how to ask it


def _scorers(figure: str, data: _Data) -> Iterator[_Scorer]:
    scores, points, detections = data.scores, data.points, data.detections
    if figure in _EXACT and scores is not None:
        scenario, oracle = _EXACT[figure]
        yield "sed-scores-eval", _ct(_SAME, scenario, data), lambda: _exact(data, scores, scenario, oracle)
    elif figure in _SAMPLED and points is not None:
        sampled = _SAMPLED[figure]
        yield "psds-eval", _ct(_FLOATS, sampled, data), lambda: _sampled(data, points, sampled)
    elif figure in _OF_SCORES and scores is not None:
        note, ask = _OF_SCORES[figure]
        yield "sed-scores-eval", note, lambda: ask(scores, data.truth, data.seconds)
    elif figure in _OF_DETECTIONS and detections is not None:
        package, note, answer = _OF_DETECTIONS[figure]
        yield package, note, lambda: answer(data.of_clips(detections), data)


def _exact(data: _Data, scores: Mapping[str, ScoreTable], scenario: PsdsScenario, oracle: bool) -> float | None:
    return by_sed_scores_eval.exact_psds(scores, data.truth, data.seconds, scenario, oracle=oracle).value


def _sampled(data: _Data, points: Mapping[float, EventTable], scenario: PsdsScenario) -> float | None:
    tables = {threshold: data.of_clips(table) for threshold, table in points.items()}
    return by_psds_eval.psds(tables, data.truth, data.seconds, scenario).value


def _ct(note: str, scenario: PsdsScenario, data: _Data) -> str:
    """The note, and the other mean over classes where it counts."""
    if data.rules.ct_mean == "n" and scenario.alpha_ct:
        return "cross-trigger rates averaged over n - 1 classes, ours over n (ct_mean)"
    return note


def _pauroc(scores: Mapping[str, ScoreTable], truth: EventTable, seconds: Mapping[str, float]) -> float | None:
    return by_sed_scores_eval.segment_auroc(scores, truth, seconds, MPAUC_MAX_FPR)[0]


_EXACT = {
    "psds1": (PSDS_SCENARIO_1, True),
    "psds2": (PSDS_SCENARIO_2, True),
    "nopsds1": (PSDS_SCENARIO_1, False),
    "nopsds2": (PSDS_SCENARIO_2, False),
}
# of scores, psds1 and psds2 are exact; of operating points alone they are what psds_eval computes
_SAMPLED = {
    "psds1_sampled": PSDS_SCENARIO_1,
    "psds2_sampled": PSDS_SCENARIO_2,
    "psds1": PSDS_SCENARIO_1,
    "psds2": PSDS_SCENARIO_2,
}
_Ask = Callable[[Mapping[str, ScoreTable], EventTable, Mapping[str, float]], float | None]
_OF_SCORES: Mapping[str, tuple[str, _Ask]] = {
    "collar_f1_best_macro": (_SAME, lambda *inputs: by_sed_scores_eval.best_collar_f1(*inputs).macro),
    "segment_f1_best_macro": (_SAME, lambda *inputs: by_sed_scores_eval.best_segment_f1(*inputs).macro),
    "intersection_f1_best_macro": (_SAME, lambda *inputs: by_sed_scores_eval.best_intersection_f1(*inputs).macro),
    "segment_auroc": (_AREA, lambda *inputs: by_sed_scores_eval.segment_auroc(*inputs)[0]),
    "segment_pauroc": (_AREA, _pauroc),
}


def _collar(detections: EventTable, data: _Data) -> F1:
    return by_sed_eval.collar_f1(detections, data.truth)


def _segment(detections: EventTable, data: _Data) -> F1:
    return by_sed_eval.segment_f1(detections, data.truth)


def _intersection(detections: EventTable, data: _Data) -> F1:
    return by_psds_eval.intersection_f1(detections, data.truth, data.seconds)


_OF_DETECTIONS: Mapping[str, tuple[str, str, Callable[[EventTable, _Data], float | None]]] = {
    "collar_f1_macro": ("sed-eval", _COLLAR, lambda *inputs: _collar(*inputs).macro),
    "collar_f1_micro": ("sed-eval", _COLLAR, lambda *inputs: _collar(*inputs).micro),
    "segment_f1_macro": ("sed-eval", _SEGMENTS, lambda *inputs: _segment(*inputs).macro),
    "segment_f1_micro": ("sed-eval", _SEGMENTS, lambda *inputs: _segment(*inputs).micro),
    "intersection_f1_macro": ("psds-eval", _FLOATS, lambda *inputs: _intersection(*inputs).macro),
}


def _fraction(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"
