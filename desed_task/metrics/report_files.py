"""A written report, a folder in the layout of the DCASE Task 4 baselines:

report.json              written last, so a folder with one is complete
event_f1.txt  segment_f1.txt                  the collar and segment tables, in sed_eval's layout
detections.tsv                                the system's operating point
scenario{1,2}/predictions_dtc..._gtc..._cttc.../predictions_th_0.01.tsv ... 0.99
scores/{raw,postprocessed}/<audio_id>.tsv     for evaluators that look at every threshold
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from desed_task.events import EventTable
from desed_task.formats.dcase import write_detections, write_score_folder
from desed_task.metrics.report import Report
from desed_task.metrics.scenarios import PSDS_SCENARIO_1, PSDS_SCENARIO_2, PsdsScenario


def write_report(report: Report, folder: Path) -> None:
    """Write the report with what it was computed from (see the top of this file); `report.json` last."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").unlink(missing_ok=True)
    evidence = report.evidence
    if evidence is not None:
        _write_text(evidence.event_f1_table, folder / "event_f1.txt")
        _write_text(evidence.segment_f1_table, folder / "segment_f1.txt")
        write_detections(evidence.detections, folder / "detections.tsv")
        _write_operating_points(evidence.operating_points, PSDS_SCENARIO_1, folder / "scenario1")
        _write_operating_points(evidence.operating_points, PSDS_SCENARIO_2, folder / "scenario2")
        write_score_folder(evidence.raw_scores, folder / "scores" / "raw")
        write_score_folder(evidence.filtered_scores, folder / "scores" / "postprocessed")
    _write_text(json.dumps(report.to_json(), indent=2, allow_nan=False) + "\n", folder / "report.json")


def _write_operating_points(points: Mapping[float, EventTable], scenario: PsdsScenario, folder: Path) -> None:
    criteria = scenario.criteria
    folder = folder / f"predictions_dtc{criteria.dtc:g}_gtc{criteria.gtc:g}_cttc{criteria.cttc:g}"
    digits = next(digits for digits in range(2, 20) if len({f"{x:.{digits}f}" for x in points}) == len(points))
    for threshold, detections in points.items():
        write_detections(detections, folder / f"predictions_th_{threshold:.{digits}f}.tsv")


def _write_text(text: str, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
