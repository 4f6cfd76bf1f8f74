"""The conventions under which published numbers were computed, as named constants with their source.

PSDS: C. Bilen et al., "A framework for the robust evaluation of sound event detection", ICASSP 2020 (arXiv 1910.08440).
A detection counts when enough of it lies in events of its class (DTC), an event is found when enough of it lies under
such detections (GTC), and a detection that fails DTC is also a cross-trigger of every other class that covers enough of
it (CTTC). The score is the area under effective true positive ratio over effective false positives per hour.

The two scenarios and the collars are those of DCASE Task 4, 2021-2024. Scenario 1 wants times right, scenario 2 wants
classes not to be confused.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IntersectionCriteria:
    """Fractions in [0, 1]: dtc of the detection, gtc of the event, cttc of the detection."""

    dtc: float
    gtc: float
    cttc: float


@dataclass(frozen=True)
class PsdsScenario:
    """alpha_ct weighs cross-triggers, alpha_st the standard deviation over classes; max_efpr is per hour."""

    criteria: IntersectionCriteria
    alpha_ct: float
    alpha_st: float
    max_efpr: float


# CTTC plays no part in scenario 1 (alpha_ct is 0), but published folders are named after it.
PSDS_SCENARIO_1 = PsdsScenario(IntersectionCriteria(0.7, 0.7, 0.3), alpha_ct=0.0, alpha_st=1.0, max_efpr=100.0)
PSDS_SCENARIO_2 = PsdsScenario(IntersectionCriteria(0.1, 0.1, 0.3), alpha_ct=0.5, alpha_st=1.0, max_efpr=100.0)
INTERSECTION_F1 = IntersectionCriteria(0.5, 0.5, 0.3)

# The offset may deviate by the larger of the collar and this fraction of the reference event.
COLLAR_SECONDS = 0.2
OFFSET_COLLAR_FRACTION = 0.2
SEGMENT_SECONDS = 1.0
TAGGING_THRESHOLD = 0.5
# mpAUC of DCASE Task 4, 2024: the segment AUROC up to this false positive rate.
MPAUC_MAX_FPR = 0.1
