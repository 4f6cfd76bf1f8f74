"""How fast are mAP, AUC and their intervals at AudioSet's size? Beside scikit-learn's loop over classes.

    python benchmarks/tagging_metrics.py --json docs/results/tagging_metrics.json

Rows (--only NAME for one of them), 20,000 clips x 527 classes, as rare as those of AudioSet's evaluation set:

    ranking     average precision and AUC of every class; peer: average_precision_score and roc_auc_score per class, as
                the published evaluations of PSLA, AST, PANNs, EfficientAT and fsd50k-pytorch do
    bootstrap   mAP, mean AUC and d' of 1,000 samples of the clips, two threads; peer: the same loop, as often

One thread where nothing else is said, both sides in turn, medians, compiling excluded. All values are compared, and a
difference above 1e-12 is refused. The peer's bootstrap is extrapolated from one sample, the first.
"""

from __future__ import annotations

import platform
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.evaluation_timing import Peer, Timing, alternate
from benchmarks.row_files import write_rows
from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.errors import DesedTaskError
from desed_task.metrics.bootstrap import draw_samples
from desed_task.metrics.dprime import dprime
from desed_task.metrics.tag_ranking import rank_tags
from desed_task.metrics.tag_samples import SampledTags, sample_tags

Row = dict[str, Any]
Values = dict[str, NDArray[np.float64]]
SIZES = {"full": (20_000, 527), "small": (400, 20)}
# Clips with a class, the rarest and the most frequent, of the 20,123 of AudioSet's evaluation set.
RAREST, MOST_FREQUENT = 52 / 20_123, 5_597 / 20_123
NUM_SAMPLES = 1000
TOLERANCE = 1e-12
SEED = 6


def main(argv: Sequence[str]) -> int:
    """Run, print, write."""
    parser = RecipeParser(description="Speed of a tagger's figures beside scikit-learn.")
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--only", choices=ROWS, action="append", help="this row alone; may be repeated")
    parser.add_argument("--repeats", type=whole_number(1), default=3, help="how often both sides are timed in turn")
    parser.add_argument("--size", choices=SIZES, default="full", help="small: a try, no result")
    arguments = parser.parse_args(argv)
    scores, truth = draw_tags(*SIZES[arguments.size])
    rows: list[Row] = []
    for name in arguments.only or ROWS:
        rows.append(ROWS[name](scores, truth, arguments) | {"name": name, "size": arguments.size})
        row = rows[-1]
        show(f"{name:<10} {row['value']:.4g} s, {row['peer']} {row['peer_value']:.4g} s, ratio {row['ratio']:.3g}")
    if arguments.json is not None:
        write_rows(rows, arguments.json)
    return 0


def draw_tags(num_clips: int, num_classes: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Scores of four digits, so that there are ties, and which clip holds which class; both (clips, classes)."""
    rng = np.random.default_rng(SEED)
    share = np.clip(0.004 * np.exp(rng.normal(0, 0.7, num_classes)), RAREST, MOST_FREQUENT)
    share[0] = MOST_FREQUENT
    truth = rng.random((num_clips, num_classes), dtype=np.float32) < share
    truth[0], truth[1] = True, False  # every class can be ranked
    logits = rng.normal(-4, 1.5, truth.shape) + 3 * truth
    return np.round(1 / (1 + np.exp(-logits)), 4).astype(np.float32), truth


def ranking_row(scores: NDArray[np.float32], truth: NDArray[np.bool_], arguments: Namespace) -> Row:
    """Both figures of every class."""
    timing = _compared(lambda: rank_here(scores, truth), partial(rank_there, scores, truth), arguments.repeats)
    return _row(timing, 1, arguments.repeats, f"average precision and AUC, {_size(truth)}")


def bootstrap_row(scores: NDArray[np.float32], truth: NDArray[np.bool_], arguments: Namespace) -> Row:
    """The figures of the set in many samples."""
    weights = draw_samples(len(scores), NUM_SAMPLES, SEED)
    clips = np.repeat(np.arange(len(scores)), weights[0])

    def ours() -> Values:
        samples = sample_tags([SampledTags(scores, truth)], weights)
        return {name: samples[name].sampled[:1] for name in ("map", "mauc", "dprime")}

    def first_sample() -> Values:
        present = truth[clips].any(axis=0)  # a sample may lack a rare class
        of_classes = rank_there(scores[clips][:, present], truth[clips][:, present])
        precision, area = (float(np.mean(of_classes[name])) for name in ("average_precision", "auc"))
        return {"map": np.array([precision]), "mauc": np.array([area]), "dprime": np.array([dprime(area)])}

    timing = _compared(ours, first_sample, arguments.repeats, times=NUM_SAMPLES)
    note = f"{NUM_SAMPLES} samples of mAP, mean AUC and d', {_size(truth)}; peer extrapolated from one sample"
    return _row(timing, 2, arguments.repeats, note)


ROWS: Mapping[str, Callable[[NDArray[np.float32], NDArray[np.bool_], Namespace], Row]] = {
    "ranking": ranking_row,
    "bootstrap": bootstrap_row,
}


def rank_here(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> Values:
    """(classes,) both figures by this package."""
    ranking = rank_tags(scores, truth)
    return {"average_precision": ranking.average_precision, "auc": ranking.auc}


def rank_there(scores: NDArray[np.float32], truth: NDArray[np.bool_]) -> Values:
    """(classes,) both figures by scikit-learn."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    precision, area = np.empty((2, truth.shape[1]))
    for label in range(truth.shape[1]):
        precision[label] = average_precision_score(truth[:, label], scores[:, label])
        area[label] = roc_auc_score(truth[:, label], scores[:, label])
    return {"average_precision": precision, "auc": area}


def _compared(ours: Callable[[], Values], theirs: Callable[[], Values], repeats: int, times: int = 1) -> Timing:
    """Both sides in turn; the peer's seconds count `times` as often. DesedTaskError where values differ."""

    def run() -> tuple[float, Values]:
        start = time.perf_counter()
        values = theirs()
        return times * (time.perf_counter() - start), values

    timing = alternate(ours, Peer(_peer_name(), run), repeats)
    for name, values in timing.theirs.items():
        apart = float(np.abs(timing.ours[name] - values).max())
        if not apart <= TOLERANCE:
            raise DesedTaskError(f"{name}: {apart:.3g} away from {_peer_name()}, more than {TOLERANCE:g}")
    return timing


def _row(timing: Timing, threads: int, repeats: int, note: str) -> Row:
    return {
        "value": timing.seconds,
        "unit": "s",
        "peer": _peer_name(),
        "peer_value": timing.peer_seconds,
        "ratio": timing.ratio,
        "machine": f"{platform.machine()}, {platform.system()}, no GPU used",
        "threads": threads,
        "gflops": timing.gflops,
        "repeats": repeats,
        "note": note,
    }


def _peer_name() -> str:
    return f"scikit-learn {version('scikit-learn')}"


def _size(truth: NDArray[np.bool_]) -> str:
    return f"{truth.shape[0]} clips x {truth.shape[1]} classes"


if __name__ == "__main__":
    run_recipe(main)
