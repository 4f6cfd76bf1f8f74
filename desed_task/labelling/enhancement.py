"""Label enhancement: labels that a clip should have had, by the ontology and a model's word (Y. Gong et al., "PSLA",
2021, section V).

Annotators hear what they are asked about, so clips lack labels that follow from others:

- Type I: a clip holds a class and not the child that it also is an example of (Speech, and no Male speech);
- Type II: a clip holds a class and not its ancestors (Male speech, and no Speech).

A missing child (direct ones only) or ancestor (all of them) is added where the model's probability exceeds, strictly, a
threshold of its class, taken from the probabilities on clips that hold the class: their mean, median, or 25th, 10th or
5th percentile. Both types start from the original labels; merged, a clip gets both.

The published code takes the probabilities of a model on the clips that it was trained on, which rise where labels were
given and fall where they were not, right or wrong: a missing label was learnt to be missing. Take predictions of models
that did not see the clip (cross-fitted). The published labels stand in an order that varies between runs; here they are
sorted.

With abstract nodes removed the labels are those of the published code (PSLA, commit 76aedd19ad31) in every clip, for
every threshold and both types; checked with random predictions on AudioSet's balanced list, and on random labels of
FSD50K, of which that code skips the five of FSD50K_SKIPPED. With threshold -inf everything possible is added: on the
balanced list 51,708 labels become 146,025 (type I), 77,283 (type II) and 169,551 (merged), with abstract nodes
traversed 77,771 and 170,039 (type II and merged).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from desed_task.labelling.ontology import ClassGraph, Relation
from desed_task.labelling.pairs import LabelPairs

Threshold = Literal["none", "mean", "median", "25", "10", "5"]
THRESHOLDS: tuple[Threshold, ...] = get_args(Threshold)
# Classes of FSD50K from which the published code adds nothing: three are abstract, two are blacklisted only.
FSD50K_SKIPPED = ("/m/09l8g", "/t/dd00012", "/m/09hlz4", "/m/0bm0k", "/t/dd00071")
Probs = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Enhancement:
    """The original labels, and those that each type adds (none of which the clip had)."""

    original: LabelPairs
    type1: LabelPairs
    type2: LabelPairs

    @cached_property
    def type1_2(self) -> LabelPairs:
        """What both add together."""
        return self.type1.union(self.type2)

    @property
    def added(self) -> dict[str, LabelPairs]:
        """By the names that the published files have."""
        return {"type1": self.type1, "type2": self.type2, "type1_2": self.type1_2}


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """Of each direct pair of child and parent: clips that hold the child, and how many of these lack the parent."""

    child: NDArray[np.int64]
    parent: NDArray[np.int64]
    num_clips: NDArray[np.int64]
    num_without_parent: NDArray[np.int64]


def class_thresholds(probs: Probs, labels: LabelPairs, threshold: Threshold) -> NDArray[np.float64]:
    """(classes,) from probs (clips, classes); NaN, which nothing exceeds, for classes without clips and for `none`."""
    order = np.argsort(labels.classes, kind="stable")
    clips, classes = labels.clips[order], labels.classes[order]
    of_class = np.split(probs[clips, classes].astype(np.float64), np.cumsum(labels.class_counts())[:-1])
    return np.array([_summary(values, threshold) for values in of_class])


def enhance(
    labels: LabelPairs,
    graph: ClassGraph,
    probs: Probs | None = None,
    thresholds: NDArray[np.float64] | None = None,
    skipped: Collection[int] = (),
) -> Enhancement:
    """Both types of missing labels. probs: (clips, classes), thresholds: (classes,); without them all that is possible.

    skipped: classes from which nothing is concluded.
    """
    sources = labels.with_keys(labels.keys[~np.isin(labels.classes, list(skipped))]) if skipped else labels

    def missing(relation: Relation) -> LabelPairs:
        candidates = relation.reach(sources).without(labels)
        if probs is None or thresholds is None:
            return candidates
        sure = probs[candidates.clips, candidates.classes].astype(np.float64) > thresholds[candidates.classes]
        return candidates.with_keys(candidates.keys[sure])

    return Enhancement(labels, missing(graph.children), missing(graph.ancestors))


def soft_targets(labels: LabelPairs, added: LabelPairs, probs: Probs) -> NDArray[np.float32]:
    """(clips, classes): 1 for original labels, the model's probability for added ones, 0 elsewhere."""
    targets = np.zeros((labels.num_clips, labels.num_classes), dtype=np.float32)
    targets[labels.clips, labels.classes] = 1.0
    targets[added.clips, added.classes] = np.clip(probs[added.clips, added.classes], 0.0, 1.0)
    return targets


def label_errors(labels: LabelPairs, graph: ClassGraph) -> LabelErrors:
    """How often a clip holds a class and lacks its parent."""
    places, keys = graph.parents.follow(labels)
    size = len(graph.parents)
    return LabelErrors(
        child=np.repeat(np.arange(labels.num_classes), np.diff(graph.parents.first)),
        parent=graph.parents.related,
        num_clips=np.bincount(places, minlength=size),
        num_without_parent=np.bincount(places[~np.isin(keys, labels.keys)], minlength=size),
    )


def _summary(values: NDArray[np.float64], threshold: Threshold) -> float:
    if threshold == "none" or not len(values):
        return float("nan")
    if threshold == "mean":
        return float(values.mean())
    return float(np.median(values) if threshold == "median" else np.percentile(values, int(threshold)))
