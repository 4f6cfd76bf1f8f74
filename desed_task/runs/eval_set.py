"""Listening to recordings without labels: the challenge's evaluation set, or anybody's.

Every model of a checkpoint hears every recording at its own length. Under <run>/metrics_test/<model>:

    detections.tsv                               the system's operating point
    predictions_th_0.01.tsv ... 0.99             50 operating points (submissions of 2021 and 2022)
    scores/{raw,postprocessed}/<audio_id>.tsv    scores of every frame (submissions since 2023)

Both models get their own scores (the published 2022 code writes the student's under the teacher's name).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from desed_task.command_line import show
from desed_task.events import EventTable, audio_id_of
from desed_task.experiment import build_eval_set, load_system, predict_clip_set
from desed_task.formats.dcase import write_detections, write_score_folder
from desed_task.postprocessing.operating_points import detect_at_thresholds
from desed_task.postprocessing.pipeline import PostProcessing
from desed_task.postprocessing.thresholds import threshold_grid
from desed_task.runs.clip_sets import FAST_DEV_CLIPS, check_decoding
from desed_task.runs.testing import with_data_of
from desed_task.scores import Scores
from desed_task.training.energy import metered, publish_energy
from desed_task.training.run_folder import create_run_folder, write_provenance

LOG = logging.getLogger(__name__)


def eval_from_checkpoint(
    checkpoint: Path,
    conf: Path | None,
    overrides: Sequence[str],
    log_dir: Path,
    device: torch.device,
    fast_dev_run: bool,
    scaler_range: tuple[float, float] | None = None,
) -> Path:
    """Write scores and detections of the unlabelled recordings of `data.eval`; the run folder."""
    system = with_data_of(load_system(checkpoint, scaler_range), "eval", conf, overrides)
    clip_set = build_eval_set(system.options, FAST_DEV_CLIPS if fast_dev_run else None)
    check_decoding(clip_set, system)
    folder = create_run_folder(log_dir)
    write_provenance(folder, system.options)
    system.to(device)
    energy = system.options.energy
    with metered("SED EVALUATION", folder / "evaluation_codecarbon", "eval_tot_kwh.txt", energy) as reading:
        scores = {name: predict_clip_set(system, model, clip_set) for name, model in system.models.items()}
    for name, of_model in scores.items():
        by_file = {clip.filename: of_model[clip.audio_id] for clip in clip_set.clips}
        detections = write_predictions(system.postprocessing, by_file, folder / "metrics_test" / name)
        show(f"{name}: {len(detections)} events in {len(by_file)} recordings")
    publish_energy(folder)
    LOG.info("energy: %s kWh%s", reading.kwh, " (estimated)" if reading.estimated else "")
    LOG.info("scores and detections: %s", folder / "metrics_test")
    return folder


def write_predictions(postprocessing: PostProcessing, scores: Mapping[str, Scores], folder: Path) -> EventTable:
    """Write what the module says of one model's scores (by file name); the system's detections."""
    folder.mkdir(parents=True, exist_ok=True)
    filtered = {name: postprocessing.filter(clip) for name, clip in scores.items()}
    detections = EventTable({name: postprocessing.detect_at(clip) for name, clip in filtered.items()})
    write_detections(detections, folder / "detections.tsv")
    for threshold, table in detect_at_thresholds(filtered, threshold_grid()).items():
        write_detections(table, folder / f"predictions_th_{threshold:.2f}.tsv")
    for kind, of_kind in (("raw", scores), ("postprocessed", filtered)):
        write_score_folder({audio_id_of(name): clip for name, clip in of_kind.items()}, folder / "scores" / kind)
    return detections
