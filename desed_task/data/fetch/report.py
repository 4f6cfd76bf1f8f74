"""What a fetch could not bring: clips of videos that are gone, per part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FetchReport:
    """`missing`: part -> clips that could not be had; `listed`: part -> clips that its table lists."""

    missing: Mapping[str, int] = field(default_factory=dict)
    listed: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """One line per part: "926 of 1168 files present"."""
        if not self.listed:
            return "all files are there"
        return "\n".join(
            f"{part}: {total - self.missing.get(part, 0)} of {total} clips present"
            for part, total in self.listed.items()
        )
