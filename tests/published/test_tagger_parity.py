"""The benchmark that compares taggers with their published code: what it prints and writes, and when it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tagger_parity
from desed_task.errors import DesedTaskError


def peer(difference: float) -> Any:
    def rows(checkout: Path) -> Iterator[dict[str, Any]]:
        yield {"name": f"{checkout.name} B0", "largest_difference": difference, "commit": "0123456789ab"}

    return rows, "someone/psla"


@pytest.mark.parametrize(("difference", "code"), [(9e-5, 0), (1.1e-4, 1), (float("nan"), 1)])
def test_more_than_a_ten_thousandth_fails(
    difference: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tagger_parity, "PEERS", {"psla": peer(difference)})
    written = tmp_path / "new" / "parity.json"
    assert tagger_parity.main(["--psla", "psla", "--json", str(written)]) == code
    assert ("MORE THAN 0.0001" in capsys.readouterr().out) == bool(code)
    (row,) = json.loads(written.read_text(encoding="utf-8"))
    assert (row["name"], row["commit"], row["tolerance"]) == ("psla B0", "0123456789ab", 1e-4)
    assert [path.name for path in written.parent.iterdir()] == ["parity.json"]


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(DesedTaskError, match=r"nothing to compare; name a checkout by --fsd50k, --gise"):
        tagger_parity.main([])


def test_a_checkout_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(DesedTaskError, match="the published network cannot be run"):
        tagger_parity.main(["--psla", str(tmp_path)])
