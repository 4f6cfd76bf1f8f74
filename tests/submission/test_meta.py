"""The YAML of a system: what is found in it, however the year calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sound_submissions import META

from desed_task.errors import SubmissionError
from desed_task.submission.meta import Meta, read_meta


def meta_of(text: str, folder: Path) -> Meta:
    (folder / "system.meta.yaml").write_text(text, encoding="utf-8")
    return read_meta(folder / "system.meta.yaml")


def test_every_number_is_found(tmp_path: Path) -> None:
    meta = meta_of(META.format(label="Tester_LAB_task4_1"), tmp_path)
    assert meta == Meta(
        label="Tester_LAB_task4_1",
        name="a small system",
        energy_training=1.717,
        energy_test=0.03,
        energy_baseline=0.032,
        macs=930.902e6,
        parameters=1112420,
        subsystems=None,
    )


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("system: {complexity: {total_parameters: 1112420}}", "parameters", 1112420),
        ("system: {system_complexity_params: 2.2M}", "parameters", 2.2e6),
        ("system: {system_complexity: 11325746}", "parameters", 11325746),
        ("system: {complexity: {MACS: 0.93 G}}", "macs", 0.93e9),
        ("system: {energy: {training: 1717 Wh}}", "energy_training", 1.717),
        ("system: {ensemble_method_subsystem_count: 5}", "subsystems", 5),
        ("energy_baseline: 0.01", "energy_baseline", 0.01),
        ("system: {energy_training: '!!null'}", "energy_training", None),
        ("system: {energy: {training_hardware: A100, training_kwh: 2}}", "energy_training", 2),
    ],
)
def test_numbers_under_other_names(section: str, name: str, value: float | None, tmp_path: Path) -> None:
    assert getattr(meta_of(f"submission: {{label: x}}\n{section}\n", tmp_path), name) == value


def test_trailing_tabs_and_comments_are_allowed(tmp_path: Path) -> None:
    assert meta_of("submission:\t\n  label: x  # mine\t\n", tmp_path).label == "x"


@pytest.mark.parametrize("value", ["-1", "0", ".inf"])
def test_an_energy_that_cannot_be_is_refused(value: str, tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="above 0"):
        meta_of(f"submission: {{label: x}}\nenergy_test: {value}\n", tmp_path)
