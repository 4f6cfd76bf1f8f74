"""d' (d-prime), the sensitivity index of taggers: sqrt(2) times the normal quantile of the area under the ROC curve.

It is how many standard deviations the scores of clips with and without a class would lie apart, were both normal and
equally wide. Two definitions are in use, and they differ by much where classes differ: d' of the mean AUC over the
classes (PSLA, AST, fsd50k-pytorch, GISE-51: 2.738 for AST's published run), and the mean of the classes' own d' (3.025
for the same run; J. Gemmeke et al., "Audio Set", 2017, averages classes). Here they are `dprime` and
`dprime_per_class_mean`.

An AUC of 1 (or 0) has no finite d': it is undefined here, where scipy's quantile says infinity. Else both are equal to
1e-12.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_QUANTILE = NormalDist().inv_cdf


def dprime(auc: float) -> float:
    """d' of one area, NaN where it is not finite."""
    return math.sqrt(2.0) * _QUANTILE(auc) if 0.0 < auc < 1.0 else math.nan


def dprimes(aucs: NDArray[np.float64]) -> NDArray[np.float64]:
    """d' of each area of an array of any shape, NaN where it is not finite."""
    return np.fromiter((dprime(auc) for auc in aucs.ravel().tolist()), np.float64, aucs.size).reshape(aucs.shape)
