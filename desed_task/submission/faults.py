"""Faults: all that is wrong with a submission, told at once and before anything is scored.

Whoever is sent back a hundred times for one typing error each gives up; so a check adds its sentence (file, row, value,
remedy) and goes on, and the list is raised at the end. Notes are what is only incomplete: they stand beside the scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from desed_task.errors import DesedTaskError, SubmissionError

MAX_TOLD = 20


class Faults:
    """The sentences of one submission. `unpacked`: the folder that stands for the archive `path`, if it was one."""

    def __init__(self, path: Path, unpacked: Path | None = None) -> None:
        self._path = path
        self._unpacked = unpacked
        self._sentences: dict[str, None] = {}

    def add(self, sentence: str) -> None:
        """Remember one fault; the same sentence twice is one fault."""
        told = sentence if self._unpacked is None else sentence.replace(str(self._unpacked), str(self._path))
        self._sentences[told] = None

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Remember the DesedTaskError that ends the block, if one does."""
        try:
            yield
        except DesedTaskError as error:
            self.add(str(error))

    def __len__(self) -> int:
        return len(self._sentences)

    def raise_if_any(self) -> None:
        """SubmissionError with the first sentences and the number of the rest."""
        if not self._sentences:
            return
        told = list(self._sentences)[:MAX_TOLD]
        rest = len(self._sentences) - len(told)
        lines = [f"{self._path}: {_counted(len(self._sentences))}, nothing was scored", *told]
        raise SubmissionError("\n  ".join([*lines, f"and {rest} more"] if rest else lines))


def _counted(count: int) -> str:
    return "1 fault" if count == 1 else f"{count} faults"
