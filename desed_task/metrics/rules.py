"""The choices on which evaluators differ, each with the value under which published numbers were computed.

Every report says which were used. The defaults are those of the PSDS paper and of sed_scores_eval, except that clips
without events count, as in psds_eval.

| choice | default | legacy value | who uses it | effect on the DESED dev-test |
|---|---|---|---|---|
| ct_mean | n-1 | n | psds_eval 0.3.0 and the published tables up to 2022 | PSDS2 .0046 higher |
| overlap | error | allow | psds_eval 0.3.0; later versions refuse, too | none, there are no overlaps |
| empty_clips | count | leave_out | recipes with sed_scores_eval since 2023 | 15 of 1168 clips |
| time_decimals | 6 | None | psds_eval, sed_eval: floats as they are | PSDS1 .00002 lower |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CtMean = Literal["n-1", "n"]
Overlap = Literal["error", "merge", "allow"]
EmptyClips = Literal["count", "leave_out"]


@dataclass(frozen=True)
class Rules:
    """ct_mean: the number of classes by which cross-trigger rates are averaged, n - 1 others or all n.

    overlap: what to do when events of one class overlap in a clip: refuse, join them into one, or take them as they
    are (an instant under two events then counts twice). empty_clips: whether clips without events count, with their
    duration and their false alarms. time_decimals: times are rounded to so many decimals of a second and compared as
    whole numbers of that unit; None: they are compared as floats, with their rounding errors.
    """

    ct_mean: CtMean = "n-1"
    overlap: Overlap = "error"
    empty_clips: EmptyClips = "count"
    time_decimals: int | None = 6

    def __post_init__(self) -> None:
        if self.time_decimals is not None and not 0 <= self.time_decimals <= 9:
            raise ValueError(f"time_decimals must be between 0 and 9, got {self.time_decimals}")

    @property
    def ticks_per_second(self) -> int:
        """How many units of time a second has."""
        return 1 if self.time_decimals is None else int(10**self.time_decimals)


DEFAULT_RULES = Rules()
# psds_eval 0.3.0: the published tables of DCASE Task 4 up to 2022.
LEGACY_RULES = Rules(ct_mean="n", overlap="allow", time_decimals=None)
