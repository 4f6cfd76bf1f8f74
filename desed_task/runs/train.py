"""Training: conf -> checks -> packed audio -> run folder -> fit (metered) -> best checkpoint -> test.

All that can be checked is checked before anything is packed or written.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from desed_task.experiment import SedOptions, build_dataset, build_module, build_system, load_system
from desed_task.runs.clip_sets import read_clip_sets
from desed_task.runs.testing import test
from desed_task.runs.validation import build_validation
from desed_task.training.energy import metered
from desed_task.training.fit import fit
from desed_task.training.run_folder import create_run_folder, write_provenance

LOG = logging.getLogger(__name__)


def train(options: SedOptions, log_dir: Path, device: torch.device, fast_dev_run: bool) -> Path:
    """Train and test; the run folder."""
    around = build_system(options, {})
    sets = read_clip_sets(around, fast_dev_run)
    validation = build_validation(sets.validation, around, device)
    dataset = build_dataset(options, sets.train, around.labels, around.grid)
    folder = create_run_folder(log_dir)
    write_provenance(folder, options)
    LOG.info("run folder: %s", folder)
    module = build_module(options, dataset, validation)
    with metered("SED TRAINING", folder / "training_codecarbon", "training_tot_kwh.txt", options.energy) as energy:
        checkpoint = fit(module, dataset, folder, device, fast_dev_run)
    LOG.info("best checkpoint: %s", checkpoint)
    test(load_system(checkpoint), sets.test, folder, device, energy)
    return folder
