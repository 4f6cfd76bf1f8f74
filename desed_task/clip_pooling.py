"""Clip pooling: scores of the windows of one recording -> that of the clip, as the windows come in.

Each pool takes (windows, classes) at a time and keeps a few numbers per class, so a recording may be of any length.
`SoftPool` averages logits with the weights softmax(exponent * logit); it keeps the largest exponent so far and rescales
its sums when a larger one comes, so nothing overflows.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32] | NDArray[np.float64]

# Small probabilities are told apart far below this, but float32 has none between 1 - 6e-8 and 1, float64 1 - 1.1e-16.
_LOWEST_PROBABILITY = 1e-30
_HIGHEST_PROBABILITY = {np.dtype(np.float32): 1.0 - 1e-7, np.dtype(np.float64): 1.0 - 1e-15}


class ClipPool(Protocol):
    """The clip scores of one recording."""

    def add(self, probs: Values) -> None:
        """The probabilities of the next windows, (windows, classes), at least one."""

    def pooled(self) -> NDArray[np.float32]:
        """(classes,) probabilities of the clip."""


class MaxPool:
    """The largest probability."""

    def __init__(self) -> None:
        self._largest: Values | None = None

    def add(self, probs: Values) -> None:
        """See `ClipPool`."""
        largest = probs[0] if len(probs) == 1 else probs.max(axis=0)
        self._largest = largest if self._largest is None else np.maximum(self._largest, largest)

    def pooled(self) -> NDArray[np.float32]:
        """See `ClipPool`."""
        assert self._largest is not None
        return np.asarray(self._largest, dtype=np.float32)


class MeanPool:
    """The mean probability, in float64."""

    def __init__(self) -> None:
        self._total: NDArray[np.float64] | float = 0.0
        self._num_windows = 0

    def add(self, probs: Values) -> None:
        """See `ClipPool`."""
        self._total = self._total + probs.sum(axis=0, dtype=np.float64)
        self._num_windows += len(probs)

    def pooled(self) -> NDArray[np.float32]:
        """See `ClipPool`."""
        return np.asarray(self._total / self._num_windows, dtype=np.float32)


class SoftPool:
    """The sigmoid of each class's mean logit with the weights softmax(exponent * logit); exponent 0 is the mean."""

    def __init__(self, exponent: float) -> None:
        self._sums = SoftSums(exponent)

    def add(self, probs: Values) -> None:
        """See `ClipPool`."""
        self._sums.add(logits_of(probs))

    def pooled(self) -> NDArray[np.float32]:
        """See `ClipPool`."""
        return probabilities_of(self._sums.mean()).astype(np.float32)


class SoftSums:
    """Logits (windows, classes) -> each class's mean with the weights softmax(exponent * logit)."""

    def __init__(self, exponent: float) -> None:
        self._exponent = exponent
        self._highest: NDArray[np.float64] | float = -np.inf
        self._weights: NDArray[np.float64] | float = 0.0
        self._weighted: NDArray[np.float64] | float = 0.0

    def add(self, logits: NDArray[np.float64]) -> None:
        """The logits of the next windows, at least one."""
        raised = self._exponent * logits
        highest = np.maximum(self._highest, raised.max(axis=0))
        kept = np.exp(self._highest - highest)
        weights = np.exp(raised - highest)
        self._weights = self._weights * kept + weights.sum(axis=0)
        self._weighted = self._weighted * kept + (weights * logits).sum(axis=0)
        self._highest = highest

    def mean(self) -> NDArray[np.float64]:
        """(classes,) of all that was added."""
        return np.asarray(self._weighted / self._weights)


def soft_mean(logits: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """(windows, classes) -> (classes,): each class's mean with the weights softmax(exponent * logit)."""
    sums = SoftSums(exponent)
    sums.add(logits)
    return sums.mean()


def logits_of(probs: Values) -> NDArray[np.float64]:
    """The logits of probabilities, in float64; those of 0 and 1 are of the nearest that can be told apart."""
    clamped = np.clip(probs.astype(np.float64), _LOWEST_PROBABILITY, _HIGHEST_PROBABILITY[probs.dtype])
    return np.asarray(np.log(clamped) - np.log1p(-clamped))


def probabilities_of(logits: Values) -> NDArray[np.float64]:
    """The sigmoid of logits, in float64, from which they can be had again up to 34."""
    # keeps small probabilities, where 1 / (1 + exp(-x)) overflows
    return np.asarray(np.exp(-np.logaddexp(0.0, -logits.astype(np.float64))))
