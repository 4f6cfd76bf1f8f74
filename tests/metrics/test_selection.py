"""An epoch is selected by the figure that the report of the same scores would show."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from desed_task.errors import EventTableError
from desed_task.events import Event, EventTable
from desed_task.labels import LabelSet
from desed_task.metrics.report import evaluate
from desed_task.metrics.selection import SelectionMetric, selection_figure
from desed_task.postprocessing.pipeline import PostProcessingOptions, build_postprocessing
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid

GRID = FrameGrid(16_000, 256, 4)
LABELS = LabelSet(["Cat", "Dog"])
POST = build_postprocessing(PostProcessingOptions(), LABELS, GRID)
METRICS: tuple[SelectionMetric, ...] = get_args(SelectionMetric)


def draw(seed: int) -> tuple[dict[str, Scores], EventTable, dict[str, float]]:
    """Twelve clips of 10 s, every third without events, one not even listed.

    Onsets lie 0.2 s from a detection's, or upon it: on the edge of the collar, where rules differ.
    """
    random = np.random.default_rng(seed)
    scores, events = {}, {}
    for clip in range(12):
        values = np.repeat(0.6 * random.random((13, 2)), 12, axis=0).astype(np.float32)
        events[f"{clip}.wav"] = []
        if clip % 3:
            label, frame = int(random.integers(2)), int(random.integers(10, 100))
            values[frame:130, label] = 0.4 + 0.6 * random.random()
            onset = round(0.064 * frame + 0.2 * int(random.integers(-1, 2)), 3)
            events[f"{clip}.wav"] = [Event(onset, 8.3, LABELS[label])]
        scores[f"{clip}"] = Scores(values, values.max(axis=0), GRID, LABELS, 10.0)
    durations = dict.fromkeys(events, 10.0)
    del events["0.wav"]
    return scores, EventTable(events), durations


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_the_figure_of_selection_is_that_of_the_report(metric: SelectionMetric, seed: int) -> None:
    scores, truth, durations = draw(seed)
    report = evaluate(scores, truth, durations, POST, num_samples=0, num_thresholds=3)
    of_report = [getattr(report, f"{name}_macro" if name.endswith("f1") else name) for name in metric.split("+")]
    assert sum(of_report) > 0
    assert selection_figure(scores, truth, durations, POST, metric) == pytest.approx(sum(of_report), abs=1e-12)


# seconds        0    1    2    3
# reference      |---------|                Dog 0-2
#                     |---------|           Dog 1-3
# score > 0.5    |--------------|           Dog 0-3
def test_overlapping_events_cost_psds_and_no_f1() -> None:
    events = EventTable({"a": [Event(0.0, 2.0, "Dog"), Event(1.0, 3.0, "Dog")]})
    values = np.zeros((156, 2), dtype=np.float32)
    values[: GRID.frame_at(3.0), LABELS.index("Dog")] = 0.9
    scores = {"a": Scores(values, values.max(axis=0), GRID, LABELS, 10.0)}
    assert selection_figure(scores, events, {"a": 10.0}, POST, "intersection_f1") == 1.0
    with pytest.raises(EventTableError, match="two Dog events of a overlap"):
        selection_figure(scores, events, {"a": 10.0}, POST, "psds1")
