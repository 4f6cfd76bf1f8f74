"""One training on each of several LMDBs, as GISE-51's train_all_mixtures: how much does a tagger gain by more mixtures?

    <expdir>/<name of the LMDB>/version_N     a run per LMDB and seed, an ordinary training
    <expdir>/results.csv                      Model,run,train_set,mAP,mAUC,dprime,ckpt_path, and means (tagging_results)
    <expdir>/sizes.svg                        mAP on the evaluation sets against the number of training clips

Nothing of the conf is changed but the LMDB of its first source. Table and picture are written again after every LMDB,
so those of a study that was ended show what there is; the same command goes on with it and takes what is finished as it
is. Of a trial (fast_dev_run) they are results_fast_dev_run.csv and sizes_fast_dev_run.svg.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from desed_task.data.corpora.lmdb import LmdbOptions
from desed_task.data.tagging_sources import read_tagging_clips
from desed_task.errors import OptionsError
from desed_task.formats.whole_files import write_text
from desed_task.labels import LabelSet
from desed_task.metrics.tag_report_files import RESULTS_COLUMNS
from desed_task.runs.seeds import run_seeds
from desed_task.runs.size_plot import draw_sizes
from desed_task.runs.tagging import TAGGING
from desed_task.runs.tagging_results import read_results, write_training_sets
from desed_task.tagging import VALIDATION, TaggingOptions
from desed_task.training.ranks import ALONE, Ranks

LOG = logging.getLogger(__name__)
RESULTS, PICTURE = "results", "sizes"
# Training set -> seed -> run folder.
_Runs = dict[str, dict[int, Path]]


def train_sizes(
    options: TaggingOptions,
    lmdbs: Sequence[Path],
    num_seeds: int,
    expdir: Path,
    device: torch.device,
    fast_dev_run: bool = False,
    ranks: Ranks = ALONE,
) -> Path:
    """Train on every LMDB, with seeds from the conf's on; the table's path.

    OptionsError for LMDBs that are called alike, CorpusError for one that cannot be read, before anything is trained.
    """
    named = _by_name(lmdbs)
    of_sets = {name: with_lmdb(options, path) for name, path in named.items()}
    sizes = ranks.first(lambda: {name: _num_clips(of_set) for name, of_set in of_sets.items()})
    suffix = "_fast_dev_run" if fast_dev_run else ""
    table, picture = expdir / f"{RESULTS}{suffix}.csv", expdir / f"{PICTURE}{suffix}.svg"
    runs: _Runs = {}
    for name, of_set in of_sets.items():
        LOG.info("%s: %d clips", named[name], sizes[name])
        runs[name] = run_seeds(TAGGING, of_set, num_seeds, expdir / name, device, fast_dev_run, ranks)
        ranks.alone(partial(_write, runs, sizes, table, picture))
    return table


def with_lmdb(options: TaggingOptions, path: Path) -> TaggingOptions:
    """The same training on the clips of another LMDB."""
    first, *others = options.data.train
    if isinstance(first.corpus, LmdbOptions):
        corpus = first.corpus.model_copy(update={"path": path})
    else:
        corpus = LmdbOptions(name="lmdb", path=path)
    sources = (first.model_copy(update={"corpus": corpus}), *others)
    return options.model_copy(update={"data": options.data.model_copy(update={"train": sources})})


def _by_name(lmdbs: Sequence[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in lmdbs:
        name = path.name.removesuffix(".lmdb")
        if name in named:
            raise OptionsError(f"--lmdbs_list: {named[name]} and {path} would both be trained in {name}; rename one")
        named[name] = path.absolute()
    return named


def _num_clips(options: TaggingOptions) -> int:
    return len(read_tagging_clips(options.data.train[0], LabelSet(options.labels)).clips)


def _write(runs: _Runs, sizes: Mapping[str, int], table: Path, picture: Path) -> None:
    write_training_sets(runs, table)
    curves = _curves(runs, sizes)
    if curves:
        write_text(draw_sizes(curves, RESULTS_COLUMNS[1], "training clips") + "\n", picture)
    LOG.info("results: %s, %s", table, picture)


def _curves(runs: _Runs, sizes: Mapping[str, int]) -> dict[str, dict[int, list[float]]]:
    """System and set -> number of clips -> mAP of each run; the set that epochs are selected by only if it is alone."""
    curves: dict[str, dict[int, list[float]]] = {}
    for name, of_seeds in runs.items():
        for run in of_seeds.values():
            for result in read_results(run):
                if result.figures[0] is not None:
                    curves.setdefault(result.model, {}).setdefault(sizes[name], []).append(result.figures[0])
    of_others = {model: curve for model, curve in curves.items() if not model.endswith(f" on {VALIDATION}")}
    return of_others or curves
