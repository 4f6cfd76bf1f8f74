"""Meta: what the YAML file of a submitted system says about it.

The files of the years differ in where they keep a number, so each is looked for by the words on the way to it:
`system.complexity.total_parameters` and `system_complexity` are the parameters, `energy_training` and
`system.energy.training_kwh` the energy of training. Needed is only `submission.label`; the rest is None where it is not
given. Energies are kWh, MACs those of 10 s of audio (DCASE Task 4, from 2023).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from desed_task.errors import SubmissionError

_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9, "t": 1e12, "kwh": 1.0, "wh": 1e-3, "mwh": 1e3}
_QUANTITY = re.compile(r"^([-+]?[\d.,]*\d(?:[eE][-+]?\d+)?)\s*([A-Za-z]*)")
_SECTION = re.compile(rb"^(?:\xef\xbb\xbf)?(?:\{\s*)?[\"']?submission[\"']?\s*:", re.MULTILINE)
_SECTION_WITHIN = 2**20
_NOT_GIVEN = {"", "!!null", "null", "none", "n/a", "na", "-"}


@dataclass(frozen=True)
class Meta:
    """label and name of the system; energies in kWh; macs per 10 s; parameters; subsystems of an ensemble."""

    label: str
    name: str | None = None
    energy_training: float | None = None
    energy_test: float | None = None
    energy_baseline: float | None = None
    macs: float | None = None
    parameters: float | None = None
    subsystems: float | None = None


@dataclass(frozen=True)
class _Field:
    """A number of `Meta`: words of which one of each group stands on the way to it, and words that do not."""

    name: str
    groups: tuple[frozenset[str], ...]
    without: frozenset[str] = frozenset()


_ENERGY = frozenset({"energy", "kwh"})
_TRAINING = frozenset({"training", "train"})
_TEST = frozenset({"test", "testing", "devtest", "inference"})
_BASELINE = frozenset({"baseline"})
_MACS = frozenset({"mac", "macs"})
_FIELDS = (
    _Field("energy_training", (_ENERGY, _TRAINING), _BASELINE),
    _Field("energy_test", (_ENERGY, _TEST), _BASELINE),
    _Field("energy_baseline", (_ENERGY, _BASELINE), _TRAINING),
    _Field("macs", (_MACS,)),
    _Field("parameters", (frozenset({"complexity"}), frozenset({"params", "parameters", "system"})), _MACS | _ENERGY),
    _Field("subsystems", (frozenset({"ensemble", "subsystem", "subsystems"}), frozenset({"count"}))),
)


def read_meta(path: Path) -> Meta:
    """Read the YAML of one system. SubmissionError when it is broken, has no label, or a number that is none."""
    tree = _read_yaml(path)
    submission = tree.get("submission")
    if not isinstance(submission, Mapping):
        raise SubmissionError(f"{path}: no section `submission`; add it with the system's label")
    label = submission.get("label")
    if not isinstance(label, str) or not label.strip():
        raise SubmissionError(f"{path}: no key submission.label; add the system's label")
    name = submission.get("name")
    leaves = [(tuple(_words(".".join(keys))), ".".join(keys), value) for keys, value in _leaves(tree)]
    numbers = {field.name: _number_of(field, leaves, path) for field in _FIELDS}
    return Meta(label.strip(), name if isinstance(name, str) else None, **numbers)


def has_submission_section(path: Path) -> bool:
    """Whether a YAML file, sound or broken, seems to have the section of a meta."""
    try:
        with path.open("rb") as stream:
            return _SECTION.search(stream.read(_SECTION_WITHIN)) is not None
    except OSError:
        return False


def _read_yaml(path: Path) -> Mapping[str, Any]:
    try:
        # The organisers' validators take off trailing tabs, too, which YAML refuses.
        text = "\n".join(line.rstrip() for line in path.read_text(encoding="utf-8-sig").splitlines())
        tree = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SubmissionError(f"{path}: cannot be read ({error}); save it as UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        row = "" if mark is None else f", row {mark.line + 1}"
        problem = getattr(error, "problem", None) or "syntax"
        raise SubmissionError(f"{path}{row}: not valid YAML ({problem}); mend it") from None
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"{path}: not valid YAML ({error}); mend it") from None
    if not isinstance(tree, Mapping):
        raise SubmissionError(f"{path}: no section `submission`; add it with the system's label")
    return tree


def _leaves(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from _leaves(value, (*above, str(key)))
    elif not isinstance(tree, list):
        yield above, tree


def _words(key: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", key.lower()) if word]


def _number_of(field: _Field, leaves: list[tuple[tuple[str, ...], str, Any]], path: Path) -> float | None:
    """The first number among the values that could be it; SubmissionError when there are only other texts."""
    texts = []
    for words, key, value in leaves:
        found = set(words)
        if not all(found & group for group in field.groups) or found & field.without:
            continue
        if value is None or isinstance(value, bool) or str(value).strip().lower() in _NOT_GIVEN:
            continue
        number = _quantity(value)
        if number is not None and not 0.0 < number < float("inf"):
            raise SubmissionError(f"{path}: {key}: {value!r} must be above 0; mend it, or write !!null")
        if number is not None:
            return number
        texts.append(f"{path}: {key}: {value!r} is not a number; write one, or !!null where it is not known")
    if texts:
        raise SubmissionError(texts[0])
    return None


def _quantity(value: Any) -> float | None:
    """1.717, "1.717 kWh", "930.9 M" as a number; None for any other text."""
    if isinstance(value, int | float):
        return float(value)
    match = _QUANTITY.match(str(value).strip())
    if match is None or match[2].lower() not in _UNITS:
        return None
    try:
        return float(match[1].replace(",", "")) * _UNITS[match[2].lower()]
    except ValueError:
        return None
