"""LabelSet: the ordered class names of a system. The order is the order of every class axis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from desed_task.errors import DesedTaskError

# The ten classes of DESED in the order of the published baselines (alphabetical), DCASE Task 4, 2019-2024.
DESED_LABELS = (
    "Alarm_bell_ringing",
    "Blender",
    "Cat",
    "Dishes",
    "Dog",
    "Electric_shaver_toothbrush",
    "Frying",
    "Running_water",
    "Speech",
    "Vacuum_cleaner",
)


class LabelSet:
    """Ordered, distinct class names. Equal when names and order are equal."""

    __slots__ = ("_index", "names")

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        if not self.names:
            raise DesedTaskError("the label set is empty; name at least one class")
        for name in self.names:
            # Names are columns of TSV files; sed_scores_eval refuses backslashes. AudioSet has names with commas.
            if not name or name != name.strip() or any(char in name for char in "\t\n\r\\"):
                raise DesedTaskError(
                    f"class name {name!r} is empty or has a tab, a backslash, a line break or an outer space"
                )
        self._index = {name: position for position, name in enumerate(self.names)}
        if len(self._index) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise DesedTaskError(f"class {twice!r} stands twice in the label set")

    def index(self, label: str) -> int:
        """Position of `label` on the class axis; KeyError when it is not a class."""
        return self._index[label]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, position: int) -> str:
        return self.names[position]

    def __contains__(self, label: object) -> bool:
        return label in self._index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelSet) and self.names == other.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"LabelSet({list(self.names)})"
