"""Schedules by step: the sigmoid-shaped ramp of the consistency weight and of the learning rate.

ramp(step) = exp(-5 (1 - min(step, T) / T)^2), T steps long (Laine and Aila 2017, arXiv 1610.02242). In the published
recipe T is 50 epochs = 5900 steps.
"""

from __future__ import annotations

import math


def exponential_ramp(step: int, ramp_steps: int) -> float:
    """From exp(-5) at step 0 to 1 at `ramp_steps`, then 1; always 1 when there is no ramp."""
    if ramp_steps <= 0 or step >= ramp_steps:
        return 1.0
    return math.exp(-5.0 * (1.0 - max(0, step) / ramp_steps) ** 2)


def cosine_decay(step: int, first_step: int, last_step: int) -> float:
    """1 until `first_step`, then cos(pi/2 * progress) down to 0 at `last_step` (the 2024 recipe's decay)."""
    if step <= first_step or last_step <= first_step:
        return 1.0
    return math.cos(0.5 * math.pi * min(1.0, (step - first_step) / (last_step - first_step)))
