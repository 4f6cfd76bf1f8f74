"""Which classes the events of one scene have.

Three ways: every event draws from all classes (by weight); a scene first draws a few classes, of which its events then
are (with `classes_per_scene: 1` of one); or a table of co-occurrence, as the generation of DESED uses it (Turpault et
al. 2019): the table draws the class of the first event, and that class says how many further events there are and of
which classes. The "unimodal" in the names of GISE-51's mixtures (Yadav & Foster 2021) says nothing of that: its events
are drawn from all classes.

A table may stand in the conf, or in a YAML or JSON file of its own that the conf names. The published files are read as
they are, except that their generator draws fewer than `max_events` further events, and here it is the most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from desed_task.options import Options, check_options, read_options

# Under this key the published tables nest what stands beside `proba` here; their spelling.
_PUBLISHED_KEY = "co-occurences"


class CoOccurrence(Options):
    """What occurs with one class."""

    proba: float = Field(default=1.0, ge=0, description="How often scenes begin with this class, relative to others.")
    classes: tuple[str, ...] = Field(default=(), description="Classes of the further events.")
    probas: tuple[float, ...] = Field(default=(), description="How often each of `classes` is drawn, relatively.")
    max_events: int | None = Field(
        default=None, ge=0, description="Most further events; so many and all smaller counts are equally likely."
    )
    count_probas: tuple[float, ...] | None = Field(
        default=None, description="How likely 0, 1, 2 ... further events are, in place of `max_events`."
    )
    mean_events: float | None = Field(
        default=None, description="Stands in the published tables; neither they nor we draw by it."
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> CoOccurrence:
        if len(self.classes) != len(self.probas):
            raise ValueError(f"{len(self.classes)} classes and {len(self.probas)} probas; give one for each")
        for name, weights in (("probas", self.probas), ("count_probas", self.count_probas)):
            if weights and (min(weights) < 0 or sum(weights) <= 0):
                raise ValueError(f"{name} {list(weights)} must not be negative, and one of them must be positive")
        if self.count_probas == ():
            raise ValueError("count_probas is empty; give a number for 0, for 1, ... further events")
        if (self.max_events is None) == (self.count_probas is None) and self.classes:
            raise ValueError("give either max_events or count_probas, to say how many further events there are")
        if not self.classes and (self.max_events or len(self.count_probas or ()) > 1):
            raise ValueError("further events need `classes` and `probas` to be drawn from")
        return self

    def draw_count(self, rng: np.random.Generator) -> int:
        """How many further events there are."""
        if self.count_probas is not None:
            return int(rng.choice(len(self.count_probas), p=_normalised(self.count_probas)))
        return int(rng.integers((self.max_events or 0) + 1))


class _TableFile(Options):
    """A file whose keys are class names."""

    model_config = ConfigDict(extra="allow")


def _read_table(table: Any) -> Any:
    """The name of a file becomes what stands in it; every entry is checked. OptionsError names class and key."""
    if isinstance(table, str):
        table = read_options(Path(table), _TableFile).model_extra or {}
    if not isinstance(table, dict):
        return table
    # Checked here, as options are: what a validator returns would be taken for Python, in which no list is a tuple.
    return {label: _checked(entry, f"co_occurrence.{label}") for label, entry in table.items()}


def _checked(entry: Any, origin: str) -> CoOccurrence:
    if isinstance(entry, CoOccurrence):
        return entry
    if isinstance(entry, dict) and isinstance(entry.get(_PUBLISHED_KEY), dict):
        entry = {key: value for key, value in entry.items() if key != _PUBLISHED_KEY} | entry[_PUBLISHED_KEY]
    return check_options(entry, CoOccurrence, default_origin=origin)


CoOccurrenceTable = Annotated[dict[str, CoOccurrence], BeforeValidator(_read_table)]


def check_co_occurrence(table: Mapping[str, CoOccurrence], labels: Collection[str]) -> None:
    """ValueError on a class that is not one of `labels`, and on a table that no scene can begin with."""
    for label, entry in table.items():
        for name in (label, *entry.classes):
            if name not in labels:
                raise ValueError(f"co_occurrence: class {name!r} (under {label!r}) is not in `labels`; correct either")
    if not any(entry.proba for entry in table.values()):
        raise ValueError("co_occurrence: no class has a positive proba, so no scene can begin; raise one")


def drawn_classes(
    rng: np.random.Generator,
    labels: tuple[str, ...],
    class_weights: Mapping[str, float],
    num_events: tuple[int, int],
    classes_per_scene: int | None,
) -> Iterator[str]:
    """The class of each event, drawn when it is asked for; classes without a weight have 1."""
    weights = np.array([class_weights.get(label, 1.0) for label in labels])
    if classes_per_scene is not None:
        count = min(classes_per_scene, int(np.count_nonzero(weights)))
        chosen = rng.choice(len(weights), size=count, replace=False, p=weights / weights.sum())
        weights = np.where(np.isin(np.arange(len(weights)), chosen), weights, 0.0)
    for _ in range(rng.integers(num_events[0], num_events[1] + 1)):
        yield labels[rng.choice(len(weights), p=weights / weights.sum())]


def drawn_co_occurring(rng: np.random.Generator, table: Mapping[str, CoOccurrence]) -> Iterator[str]:
    """The class of the first event and those of the further ones, drawn when they are asked for."""
    first = list(table)[rng.choice(len(table), p=_normalised([entry.proba for entry in table.values()]))]
    yield first
    entry = table[first]
    for _ in range(entry.draw_count(rng)):
        yield entry.classes[rng.choice(len(entry.classes), p=_normalised(entry.probas))]


def _normalised(weights: Collection[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]
