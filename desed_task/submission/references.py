"""A submitted system scored again by the published scorers, and the two sets of figures side by side.

Of several runs it is the one that the page draws. What was submitted decides what is compared: scores with
sed_scores_eval, operating points with psds_eval, decisions (or what the scores decide at the threshold) with sed_eval
and psds_eval. A scorer that is not installed is a row with the reason. See `metrics.reference` for the differences that
are known.
"""

from __future__ import annotations

from desed_task.events import EventTable, audio_id_of
from desed_task.submission.decisions import events_above
from desed_task.submission.evaluation import EvaluatedSystem, Measuring, decided_by
from desed_task.submission.evaluation_set import EvaluationSet


def side_by_side(system: EvaluatedSystem, evaluation_set: EvaluationSet, measuring: Measuring) -> str:
    """Markdown: every figure of a system beside those of the published scorers, under the rules of the set."""
    # The scorers bring pandas along, and are loaded only when they are asked.
    from desed_task.metrics.reference import compare, format_comparison

    shown = system.shown_run()
    run, clips = shown.run, set(shown.run.clips)
    rows = compare(
        {name: value for name, value in shown.report.to_json().items() if value is not None},
        evaluation_set.ground_truth,
        {name: seconds for name, seconds in evaluation_set.durations.items() if audio_id_of(name) in clips},
        scores=run.scores,
        points=run.points if run.scores is None else None,
        detections=_detections(system, measuring.threshold),
        rules=evaluation_set.rules,
    )
    of_run = f", {run.name}" if len(system.runs) > 1 else ""
    return f"{system.name}{of_run}, beside the published scorers\n\n{format_comparison(rows)}"


def _detections(system: EvaluatedSystem, threshold: float) -> EventTable | None:
    run = system.shown_run().run
    decided = decided_by(run, threshold)
    if decided is None or isinstance(decided, EventTable):
        return decided
    return EventTable({audio_id: tuple(events_above(decided[audio_id], threshold)) for audio_id in run.clips})
