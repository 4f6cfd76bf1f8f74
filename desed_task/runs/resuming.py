"""What a resumed training goes on from: its checkpoint, its options, its run folder.

It goes on with the options that the checkpoint stores; only its length may be changed, and where the same data lies now
(`data.store`, `data.residence`, the `root` of a corpus, `weights` and `store` of an embedder). `last.ckpt` of a run
folder goes on in that folder. Any other checkpoint (an earlier one of a folder, one from elsewhere) begins a new run
folder, so that nothing newer is written over.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from desed_task.errors import CheckpointError, OptionsError
from desed_task.options import check_options, override_options, read_options, write_options
from desed_task.runs.task import O, Task
from desed_task.system import CHECKPOINT_FORMAT, SystemOptions
from desed_task.training.checkpointing import RANKS_KEY, Progress, progress_of, read_checkpoint
from desed_task.training.energy import copy_stretches
from desed_task.training.keeper import LAST
from desed_task.training.module import CHECKPOINT_KEY
from desed_task.training.run_folder import code_version, create_run_folder, write_provenance
from desed_task.training.throughput import copy_work

LOG = logging.getLogger(__name__)
LENGTH = "training.n_epochs"
_PLACE = re.compile(r"data\.(store|residence|.+\.root)|embedders\.[^.]+\.(weights|weights_dir|store)")


@dataclass(frozen=True)
class Resumption(Generic[O]):
    """A training to go on with; `folder` is the run folder that it lies in, None for a checkpoint from elsewhere.

    ranks: how many processes trained it together.
    """

    checkpoint: Path
    options: O
    progress: Progress
    folder: Path | None
    ranks: int = 1

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.progress.stopped_early or self.progress.epoch >= self.options.training.n_epochs


def read_resumption(task: Task[O], path: Path, overrides: Sequence[str]) -> Resumption[O]:
    """The training of a run folder or a checkpoint; CheckpointError or OptionsError when it cannot go on."""
    checkpoint = path / LAST if path.is_dir() else path
    if not checkpoint.is_file():
        raise CheckpointError(f"{checkpoint}: no such checkpoint; name a run folder (version_N) or a .ckpt file")
    content = read_checkpoint(checkpoint)
    stored = content.get(CHECKPOINT_KEY)
    if not isinstance(stored, dict) or stored.get("format") != CHECKPOINT_FORMAT:
        raise CheckpointError(f"{checkpoint}: does not say how it was trained, so it cannot be resumed; train anew")
    if stored.get("task", "detection") != task.name:
        raise CheckpointError(
            f"{checkpoint}: a checkpoint of {stored.get('task', 'detection')}, which this recipe does not train; "
            f"resume it with the one that began it"
        )
    _require_no_trial(checkpoint)
    progress = progress_of(content, checkpoint)
    options = check_options(stored["options"], task.options, default_origin=str(checkpoint))
    folder = checkpoint.parent if checkpoint.name == LAST and (checkpoint.parent / "conf.yaml").is_file() else None
    if folder is not None:
        options = _as_in_the_folder(options, folder)
    options = _lengthened(options, overrides, progress, checkpoint)
    resumption = Resumption(checkpoint, options, progress, folder, content.get(RANKS_KEY, 1))
    if not resumption.is_finished:
        _warn_of_other_code(stored)
    return resumption


def require_same_batches(resumption: Resumption[O], steps_per_epoch: int, fingerprint: str) -> None:
    """CheckpointError when the clips or their labels are not those that the training began with."""
    before = resumption.progress
    if (before.steps_per_epoch, before.data) == (steps_per_epoch, fingerprint):
        return
    if before.steps_per_epoch != steps_per_epoch and before.data == fingerprint:
        raise CheckpointError(f"{resumption.checkpoint}: a --fast_dev_run cannot be resumed; train anew")
    raise CheckpointError(
        f"{resumption.checkpoint}: the training clips or their labels are not those it was trained on (steps per "
        f"epoch: {before.steps_per_epoch} then, {steps_per_epoch} now); restore them, or train anew"
    )


def warn_of_other_ranks(resumption: Resumption[O], world: int) -> None:
    """Whoever lost a GPU may go on with fewer, but is told that the numbers are others from here on."""
    if resumption.ranks != world:
        LOG.warning(
            "%s was trained in %d processes and goes on in %d: not exactly as it would have, for each process draws "
            "dropout and mixtures of its own",
            resumption.checkpoint,
            resumption.ranks,
            world,
        )


def claim_folder(resumption: Resumption[O], log_dir: Path) -> Path:
    """The run folder to go on in; a new one takes the best checkpoint and the kWh so far along."""
    if resumption.folder is not None:
        write_options(resumption.options, resumption.folder / "conf.yaml")
        return resumption.folder
    folder, source = create_run_folder(log_dir), resumption.checkpoint.parent
    write_provenance(folder, resumption.options)
    best = resumption.progress.best_file
    if best is not None and (source / best).is_file():
        shutil.copy2(source / best, folder / best)
    copy_stretches(source, folder)
    copy_work(source, folder)
    return folder


def _as_in_the_folder(options: O, folder: Path) -> O:
    """The folder's conf, which may only be longer than the checkpoint's (a lengthened training that was killed)."""
    conf = read_options(folder / "conf.yaml", type(options))
    if _without_places(_with_length(options, conf.training.n_epochs)) != _without_places(conf):
        raise CheckpointError(
            f"{folder / LAST}: its options are not those of {folder / 'conf.yaml'}; restore that file, or move the "
            f"checkpoint out of the folder to go on in a new one"
        )
    return _with_length(conf, max(conf.training.n_epochs, options.training.n_epochs))


def _without_places(options: SystemOptions) -> Any:
    """The options as plain values, without where the data lies and what is learned when all is trained."""

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            # Weights are known by their sha256, wherever they lie.
            places = {"root", "store", "weights_dir", "exponent", *(("weights",) if value.get("sha256") else ())}
            return {key: kept(item) for key, item in value.items() if key not in places}
        return [kept(item) for item in value] if isinstance(value, list) else value

    return kept(json.loads(options.model_dump_json()))


def _require_no_trial(checkpoint: Path) -> None:
    """CheckpointError for a --fast_dev_run, which saw a few clips and is nothing to go on with."""
    code = checkpoint.parent / "code.json"
    if code.is_file() and "fast_dev_run" in json.loads(code.read_text(encoding="utf-8")):
        raise CheckpointError(f"{checkpoint}: a --fast_dev_run cannot be resumed; train anew")


def _lengthened(options: O, overrides: Sequence[str], progress: Progress, path: Path) -> O:
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key != LENGTH and not _PLACE.fullmatch(key):
            raise OptionsError(
                f"--set {override}: a training goes on with its stored options; only {LENGTH} can be changed, and "
                f"where its data lies (data.store, data.residence, data....root, embedders....weights or store)"
            )
    longer = override_options(options, overrides) if overrides else options
    before, after = options.training.n_epochs, longer.training.n_epochs
    if after < before:
        raise OptionsError(f"--set {LENGTH}={after}: fewer than the {before} of {path}; a training can be lengthened")
    if after > before and progress.stopped_early:
        raise OptionsError(
            f"--set {LENGTH}={after}: {path} has stopped early after {progress.epoch} epochs without a better one, "
            f"more would not be made; train anew with a larger training.early_stop_patience"
        )
    return longer


def _with_length(options: O, n_epochs: int) -> O:
    return options.model_copy(update={"training": options.training.model_copy(update={"n_epochs": n_epochs})})


def _warn_of_other_code(stored: Mapping[str, Any]) -> None:
    now = code_version()
    other = [
        f"{name} {then} then, {now.get(name)} now" for name, then in stored["code"].items() if now.get(name) != then
    ]
    if other:
        LOG.warning("the code has changed, so the training may not go on exactly: %s", "; ".join(other))
