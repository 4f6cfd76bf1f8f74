"""What a fetch brought and what it could not bring, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FetchReport:
    """`listed`: part -> clips that its tables list; `missing`: part -> those of them that could not be had."""

    missing: Mapping[str, int] = field(default_factory=dict)
    listed: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """One line per part, such as "validation: 926 of 1168 clips are there"."""
        lines = [
            f"{part}: {total - self.missing.get(part, 0)} of {total} clips are there"
            for part, total in self.listed.items()
        ]
        if any(self.missing.values()):
            lines.append("missing_files/ lists the others and why; figures on fewer clips are not comparable")
        return "\n".join(lines)
