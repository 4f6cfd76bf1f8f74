"""Mean, spread and confidence interval of a figure over independent trainings (seeds).

The interval is Student's t for the mean of n normal values: mean +- t(n - 1, 97.5 %) * std / sqrt(n), std with n - 1.
It says how the mean of other seeds may fall, not how other test clips would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom (any table of the distribution).
_T_95 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
_Z_95 = 1.960


@dataclass(frozen=True)
class Spread:
    """A figure over n values: mean, standard deviation (n - 1) and half the width of the 95 % interval of the mean.

    std and half_width are None for a single value.
    """

    mean: float
    std: float | None
    half_width: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.std is None else f"{self.mean:.3f} +- {self.std:.3f}"

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean."""
        return None if self.half_width is None else (self.mean - self.half_width, self.mean + self.half_width)


def spread(values: Sequence[float]) -> Spread:
    """The spread of one or more values; ValueError for none."""
    if not values:
        raise ValueError("no values, no mean")
    count, mean = len(values), float(np.mean(values))
    if count == 1:
        return Spread(mean, None, None, 1)
    std = float(np.std(values, ddof=1))
    quantile = _T_95[count - 2] if count - 2 < len(_T_95) else _Z_95
    return Spread(mean, std, quantile * std / float(np.sqrt(count)), count)
