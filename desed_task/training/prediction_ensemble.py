"""The mean of the clip probabilities of several epochs (PSLA's checkpoint ensemble), or of several models.

A running sum in double precision: what one epoch said is not kept. Adding in another order changes the last digit at
most. PSLA multiplies its mean, written as text, by the number of epochs before each addition; ours agrees to what the
text has kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


class RunningEnsemble:
    """probs: (clips, classes) in [0, 1], the clips in the same order each time."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: NDArray[np.float64] = np.zeros((0, 0))

    def add(self, probs: NDArray[np.floating[Any]]) -> None:
        """Count in what one more epoch, or model, says."""
        assert not self.count or probs.shape == self._sum.shape, "other clips or classes than before"
        self._sum = self._sum + probs if self.count else probs.astype(np.float64)
        self.count += 1

    def mean(self) -> NDArray[np.float64]:
        """(clips, classes), of at least one."""
        assert self.count, "nothing was added"
        return self._sum / self.count

    def state(self) -> dict[str, Any]:
        """For a checkpoint, which holds tensors and plain values only."""
        return {"count": self.count, "sum": torch.from_numpy(self._sum.copy())}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.count, self._sum = state["count"], state["sum"].numpy().copy()
