"""Matching by collars: which detections and events may pair, and how many pairs an optimal matching has.

A detection may pair with an event when both its ends lie within the event's collars. Over all thresholds the pairs form
one graph; where the threshold falls, some detections of it vanish (they become part of longer ones) and others appear.
The matching is never computed anew: a detection that appears, and an event whose detection vanished, each look for one
alternating path (C. Berge, 1957: a matching is maximum when there is none). Where the event in reach is free, or nobody
waits for it, that is one step, which is nearly always; crowds of events that all reach one another are searched once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def _first_from(sorted_times: Array, start: int, stop: int, time: float) -> int:
    """The first position in [start, stop) with a time at or above `time`, else stop."""
    while start < stop:
        middle = (start + stop) // 2
        if sorted_times[middle] >= time:
            stop = middle
        else:
            start = middle + 1
    return start


@kernel
def _room(array: Array, count: int, wanted: int) -> Array:
    """The array, or a larger one with its first `count` values, with room for `wanted` more."""
    if count + wanted <= len(array):
        return array
    larger = np.empty(2 * (count + wanted), array.dtype)
    larger[:count] = array[:count]
    return larger


@kernel
def _events_of(label: int, start: int, stop: int, event_label: Array) -> tuple[int, int]:
    """The part of a clip's events [start, stop), sorted by class, that is of class `label`."""
    first = _first_from(event_label, start, stop, label)
    return first, _first_from(event_label, first, stop, label + 1)


@kernel
def _list_pairs(
    rows: tuple[int, int],
    onset: Array,
    offset: Array,
    events: tuple[int, int],
    event_onset: Array,
    event_offset: Array,
    onset_collar: float,
    offset_collar: Array,
) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
    """The graph of one class in one clip, between detections and events given as (first, one after the last).

    Returns the row of each candidate, a detection with an event in reach; the first pair of each (candidates + 1,) and
    the event of each pair, counted from the first of `events`; and the same seen from the events.
    """
    start, stop = events
    row_of, first_pair = np.empty(8, np.int64), np.zeros(9, np.int64)
    pair_event = np.empty(8, np.int64)
    candidates = pairs = 0
    reach = onset_collar * (1 + 1e-6)  # float times: the search must not miss what the comparison accepts
    for row in range(rows[0], rows[1]):
        if offset[row] <= onset[row]:
            continue
        before = pairs
        event = _first_from(event_onset, start, stop, onset[row] - reach)
        while event < stop and event_onset[event] <= onset[row] + reach:
            if (
                abs(event_onset[event] - onset[row]) <= onset_collar
                and abs(event_offset[event] - offset[row]) <= offset_collar[event]
            ):
                pair_event = _room(pair_event, pairs, 1)
                pair_event[pairs] = event - start
                pairs += 1
            event += 1
        if pairs > before:
            row_of, first_pair = _room(row_of, candidates, 1), _room(first_pair, candidates + 1, 1)
            row_of[candidates] = row
            candidates += 1
            first_pair[candidates] = pairs
    first_reach = np.zeros(stop - start + 1, np.int64)
    for pair in range(pairs):
        first_reach[pair_event[pair] + 1] += 1
    for event in range(stop - start):
        first_reach[event + 1] += first_reach[event]
    filled = first_reach[:-1].copy()
    reach_candidate = np.empty(pairs, np.int64)
    for candidate in range(candidates):
        for pair in range(first_pair[candidate], first_pair[candidate + 1]):
            reach_candidate[filled[pair_event[pair]]] = candidate
            filled[pair_event[pair]] += 1
    return row_of[:candidates], (first_pair[: candidates + 1], pair_event[:pairs]), (first_reach, reach_candidate)


@kernel
def _working_space(there: int, here: int) -> tuple[Array, Array, Array]:
    """What a search from `here` vertices to `there` others needs: came_from, seen, queue."""
    return np.empty(there, np.int64), np.zeros(there, np.int64), np.empty(here + 1, np.int64)


@kernel
def _find_mate(
    source: int,
    joined: tuple[Array, Array],
    is_there: Array,
    mate: Array,
    mate_there: Array,
    space: tuple[Array, Array, Array],
    stamp: int,
    in_vain: int,
) -> bool:
    """Pair `source`, which is free, re-pairing others where that helps; False, and nothing changed, if impossible.

    joined: the first edge of each vertex on the source's side, and what the edges lead to; is_there: which vertices of
    the other side exist now; mate, mate_there: the matching, -1 for free; stamp: another one in each call. What was
    searched without success is marked `in_vain`, and left out by calls with the same mark.
    """
    first, neighbours = joined
    came_from, seen, queue = space
    queue[0] = source
    head, tail = 0, 1
    while head < tail:
        here = queue[head]
        head += 1
        for position in range(first[here], first[here + 1]):
            there = neighbours[position]
            if not is_there[there] or seen[there] == stamp or seen[there] == in_vain:
                continue
            seen[there], came_from[there] = stamp, here
            if mate_there[there] >= 0:
                queue[tail] = mate_there[there]
                tail += 1
                continue
            while True:
                near = came_from[there]
                released = mate[near]
                mate[near], mate_there[there] = there, near
                if near == source:
                    return True
                there = released
    for position in range(1, tail):
        seen[mate[queue[position]]] = in_vain
    return False


@kernel
def _changes(row_of: Array, threshold: Array, parent: Array) -> tuple[Array, Array]:
    """Candidates in the order in which they appear and vanish where the threshold falls, and which of both it is.

    At one threshold what vanishes comes first: events are freed before they are asked for.
    """
    candidates = len(row_of)
    depth = np.empty(2 * candidates, np.float64)
    vanishing = 0
    candidate_at = np.empty(2 * candidates, np.int64)
    for candidate in range(candidates):
        above = parent[row_of[candidate]]
        if above >= 0:
            depth[vanishing], candidate_at[vanishing] = -threshold[above], candidate
            vanishing += 1
    for candidate in range(candidates):
        depth[vanishing + candidate], candidate_at[vanishing + candidate] = -threshold[row_of[candidate]], candidate
    order = np.argsort(depth[: vanishing + candidates], kind="mergesort")
    return candidate_at[order], order >= vanishing


@kernel
def _candidate_at(row_of: Array, row: int) -> int:
    """The candidate of a row, -1 if it has none."""
    candidate = _first_from(row_of, 0, len(row_of), row)
    return candidate if candidate < len(row_of) and row_of[candidate] == row else -1


@kernel
def _walk(
    row_of: Array,
    of_candidates: tuple[Array, Array],
    of_events: tuple[Array, Array],
    changes: tuple[Array, Array],
    parent: Array,
    found: Array,
) -> None:
    """Let the threshold fall, and add to `found` (nodes,) how the size of the optimal matching changes at each node."""
    candidates, events = len(row_of), len(of_events[0]) - 1
    is_there, every_event = np.zeros(candidates, np.bool_), np.ones(events, np.bool_)
    event_of, candidate_of = np.full(candidates, -1, np.int64), np.full(events, -1, np.int64)
    to_events, to_candidates = _working_space(events, candidates), _working_space(candidates, events)
    num_unpaired = 0  # candidates that are there without an event
    in_vain = -1  # events from which no free event is in reach; that stays so until another one is freed
    for change in range(len(changes[0])):
        candidate, appears, stamp = changes[0][change], changes[1][change], 2 * change + 1
        # What grows is seen to before it vanishes, unless nobody waits for its event: then what it becomes takes it.
        coming = candidate if appears else _candidate_at(row_of, parent[row_of[candidate]])
        if coming >= 0 and not is_there[coming] and (appears or num_unpaired):
            is_there[coming] = True
            paired = _find_mate(coming, of_candidates, every_event, event_of, candidate_of, to_events, stamp, in_vain)
            found[row_of[coming]] += paired
            num_unpaired += not paired
        if appears:
            continue
        is_there[candidate] = False
        event = event_of[candidate]
        if event < 0:
            num_unpaired -= 1
            continue
        event_of[candidate], candidate_of[event] = -1, -1
        if num_unpaired and _find_mate(
            event, of_events, is_there, candidate_of, event_of, to_candidates, stamp + 1, stamp + 1
        ):
            num_unpaired -= 1
        else:
            found[parent[row_of[candidate]]] -= 1
            in_vain -= 1


@kernel
def match_runs(
    first_node: Array,
    onset: Array,
    offset: Array,
    threshold: Array,
    parent: Array,
    clips: Array,
    first_event: Array,
    event_label: Array,
    event_onset: Array,
    event_offset: Array,
    onset_collar: float,
    offset_collar: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """All runs of a batch (see `trees.list_runs`) against the events of their clips, sorted by class and onset.

    offset_collar: (events,). Returns rows: label, threshold, clip, change of the true positives, of the false alarms.
    """
    num_clips, num_nodes = len(clips), len(onset)
    row_label, row_clip = np.empty(num_nodes, np.int32), np.empty(num_nodes, np.int32)
    row_threshold = np.empty(num_nodes, threshold.dtype)
    row_found, row_failed = np.empty(num_nodes, np.int32), np.empty(num_nodes, np.int32)
    rows = 0
    # per node, how many detections and pairs more there are from its threshold down
    there, found = np.zeros(num_nodes, np.int32), np.zeros(num_nodes, np.int32)
    for group in range(len(first_node) - 1):
        label, clip = group // num_clips, clips[group % num_clips]
        first_here, last_here = first_node[group], first_node[group + 1]
        for node in range(first_here, last_here):
            if offset[node] > onset[node]:
                there[node] += 1
                if parent[node] >= 0:
                    there[parent[node]] -= 1
        start, stop = _events_of(label, first_event[clip], first_event[clip + 1], event_label)
        if start < stop:
            row_of, of_candidates, of_events = _list_pairs(
                (first_here, last_here),
                onset,
                offset,
                (start, stop),
                event_onset,
                event_offset,
                onset_collar,
                offset_collar,
            )
            if len(row_of):
                changes = _changes(row_of, threshold, parent)
                _walk(row_of, of_candidates, of_events, changes, parent, found)
        for node in range(first_here, last_here):
            if there[node] != 0 or found[node] != 0:
                row_label[rows], row_threshold[rows], row_clip[rows] = label, threshold[node], clip
                row_found[rows], row_failed[rows] = found[node], there[node] - found[node]
                rows += 1
    return (
        row_label[:rows].copy(),
        row_threshold[:rows].copy(),
        row_clip[:rows].copy(),
        row_found[:rows].copy(),
        row_failed[:rows].copy(),
    )


@kernel
def match_lists(
    label: Array,
    clip: Array,
    point: Array,
    onset: Array,
    offset: Array,
    first_event: Array,
    event_label: Array,
    event_onset: Array,
    event_offset: Array,
    onset_collar: float,
    offset_collar: Array,
) -> tuple[tuple[Array, Array, Array, Array, Array], Array]:
    """Detections sorted by class, clip and operating point, which may overlap, against the events of their clips.

    Returns rows (label, point, clip, true positives, false alarms), the counts of each point, not their differences;
    and of each detection the event that it is paired with, -1 for none.
    """
    count = len(label)
    row_label, row_clip, row_point = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    row_found, row_failed = np.empty(count, np.int32), np.empty(count, np.int32)
    paired_with = np.full(count, -1, np.int64)
    rows = first = 0
    while first < count:
        last = first + 1
        while (
            last < count and label[last] == label[first] and clip[last] == clip[first] and point[last] == point[first]
        ):
            last += 1
        here, num_found = clip[first], 0
        start, stop = _events_of(label[first], first_event[here], first_event[here + 1], event_label)
        if start < stop:
            row_of, of_candidates, _ = _list_pairs(
                (first, last), onset, offset, (start, stop), event_onset, event_offset, onset_collar, offset_collar
            )
            candidates, events = len(row_of), stop - start
            event_of, candidate_of = np.full(candidates, -1, np.int64), np.full(events, -1, np.int64)
            every_event, space = np.ones(events, np.bool_), _working_space(events, candidates)
            for candidate in range(candidates):
                num_found += _find_mate(
                    candidate, of_candidates, every_event, event_of, candidate_of, space, candidate + 1, -1
                )
            for candidate in range(candidates):
                if event_of[candidate] >= 0:
                    paired_with[row_of[candidate]] = start + event_of[candidate]
        row_label[rows], row_point[rows], row_clip[rows] = label[first], point[first], here
        row_found[rows], row_failed[rows] = num_found, last - first - num_found
        rows += 1
        first = last
    return (row_label[:rows], row_point[:rows], row_clip[:rows], row_found[:rows], row_failed[:rows]), paired_with
