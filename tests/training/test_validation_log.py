"""The line that an epoch leaves in the log."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from desed_task.training.fit import _ValidationLog


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        ({"val/map": 0.25, "val/objective": 0.25, "val/rank": 0.26}, "train/loss 0.5000, val/map 0.2500"),
        ({"val/objective": 0.0, "val/rank": 0.0}, "train/loss 0.5000, 9 clips/s"),
    ],
)
def test_it_tells_the_figures_of_what_was_validated(
    figures: dict[str, float], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    trainer = SimpleNamespace(callback_metrics={"train/loss": 0.5, **figures}, current_epoch=0, max_epochs=3)
    with caplog.at_level(logging.INFO):
        _ValidationLog(cast(Any, SimpleNamespace(in_words="9 clips/s"))).on_validation_end(
            cast(Any, trainer), cast(Any, None)
        )
    assert f"epoch 1 of 3: {line}" in caplog.text
    assert "rank" not in caplog.text
