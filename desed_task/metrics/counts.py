"""Counts and the F1 that follows from them: F1 = 2 tp / (2 tp + fp + fn).

A class that the reference does not hold has no F1 (None) and no part in the macro average, but its false alarms count
in the micro average. A class of the reference that was never detected has F1 0. Both are sed_eval's rules with
`empty_system_output_handling="zero_score"`, which the published baselines set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ClassCounts:
    """What was there, what was said, and how they met, in events, segments or clips of one class."""

    num_reference: int
    num_detected: int
    tp: int
    fp: int
    fn: int

    @property
    def f1(self) -> float | None:
        """2 tp / (2 tp + fp + fn); None where the reference holds nothing of the class."""
        return 2 * self.tp / (2 * self.tp + self.fp + self.fn) if self.num_reference else None


@dataclass(frozen=True)
class F1:
    """F1 of one criterion, fractions in [0, 1], None where undefined.

    table: the report as a text in the published layout, if any; thresholds: label -> what a score had to exceed, where
    they are known.
    """

    macro: float | None
    micro: float | None
    per_class: Mapping[str, ClassCounts]
    table: str = ""
    thresholds: Mapping[str, float] = field(default_factory=dict)


def matched_counts(num_reference: int, num_detected: int, tp: int) -> ClassCounts:
    """Counts where every true positive pairs one item of the reference with one detection."""
    return ClassCounts(num_reference, num_detected, tp, num_detected - tp, num_reference - tp)


def macro_f1(per_class: Mapping[str, ClassCounts]) -> float | None:
    """The mean over the classes that the reference holds."""
    values = [counts.f1 for counts in per_class.values() if counts.f1 is not None]
    return sum(values) / len(values) if values else None


def micro_f1(per_class: Mapping[str, ClassCounts]) -> float | None:
    """F1 of the counts summed over all classes."""
    every = per_class.values()
    num_reference, num_detected = sum(c.num_reference for c in every), sum(c.num_detected for c in every)
    return matched_counts(num_reference, num_detected, sum(c.tp for c in every)).f1
