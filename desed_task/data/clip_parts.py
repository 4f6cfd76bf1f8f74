"""A set of clips divided into parts, so that a model can be asked about clips that it has not heard.

Clips of one group (a recording that was cut up, a source) lie in one part; a clip without a group is one by itself.
Larger groups are dealt first, each to the smallest part so far; equal ones in the order of a hash of their names, which
keeps classes that stand together in a list apart. So parts depend on which clips there are, and on nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace

from desed_task.clips import ClipSet, join_clip_sets
from desed_task.data.tagging_options import PartOptions
from desed_task.errors import CorpusError


def divide(clip_set: ClipSet, num_parts: int) -> list[list[int]]:
    """Positions of the clips of each part, ascending; CorpusError when there are fewer groups than parts."""
    members: dict[str, list[int]] = {}
    for position, clip in enumerate(clip_set.clips):
        group = clip_set.groups.get(clip.audio_id)
        # a group may be called as a clip is
        members.setdefault(f"clip {clip.audio_id}" if group is None else f"group {group}", []).append(position)
    if len(members) < num_parts:
        raise CorpusError(
            f"{clip_set.name}: {len(clip_set.clips)} clips of {len(members)} sources cannot be divided into "
            f"{num_parts} parts; take fewer"
        )
    parts: list[list[int]] = [[] for _ in range(num_parts)]
    for group in sorted(members, key=lambda name: (-len(members[name]), _hash(name))):
        min(parts, key=len).extend(members[group])
    return [sorted(part) for part in parts]


def choose_part(clip_set: ClipSet, options: PartOptions) -> ClipSet:
    """The clips of a part, or of all others; CorpusError as of `divide`."""
    inside = set(divide(clip_set, options.of)[options.number - 1])
    kept = inside if options.heard == "part" else set(range(len(clip_set.clips))) - inside
    suffix = f"{'part' if options.heard == 'part' else 'without'}_{options.number}_of_{options.of}"
    # Each corpus keeps the store that it has alone.
    of_sets, first = [], 0
    for one in clip_set.parts or (clip_set,):
        own = _within(kept, first, len(one.clips))
        first += len(one.clips)
        if own:
            of_sets.append(one.select(own, f"{one.name}_{suffix}"))
    # Files of the whole list (sampling weights) go on to serve, also where nothing is left of a corpus.
    rows = clip_set.rows_in_list
    listed_at = tuple(rows[position] for position in sorted(kept))
    return replace(join_clip_sets(of_sets), listed_at=listed_at, list_length=clip_set.rows_of_list)


def _within(positions: Collection[int], first: int, number: int) -> list[int]:
    return [position - first for position in sorted(positions) if first <= position < first + number]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
