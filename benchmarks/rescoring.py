"""Score finished runs anew from the scores that they keep, so that a table never mixes evaluators of different days."""

from __future__ import annotations

from pathlib import Path

from desed_task.errors import DesedTaskError
from desed_task.experiment import evaluate_clip_set, load_system
from desed_task.formats.dcase import read_score_folder
from desed_task.metrics.report import Report
from desed_task.runs.clip_sets import read_test_set


def score_run(run: Path) -> dict[str, Report]:
    """student, teacher -> report on the run's own test set; DesedTaskError when the run has not been tested."""
    system = load_system(run)
    test_set = read_test_set(system, fast_dev_run=False)
    durations = {clip.audio_id: clip.duration for clip in test_set.clips}
    folders = sorted((run / "metrics_test").glob("*/scores/raw"))
    if not folders:
        raise DesedTaskError(f"{run}: keeps no scores; test it first (train_sed.py --test_from_checkpoint)")
    return {
        folder.parent.parent.name: evaluate_clip_set(
            system, read_score_folder(folder, system.grid, durations), test_set
        )
        for folder in folders
    }
