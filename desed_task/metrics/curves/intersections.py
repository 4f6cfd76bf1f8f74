"""Matching by intersection, over whole trees of runs and over lists of detections.

Times are whole ticks, and a criterion is met where the time in common is at least the rounded product of fraction and
length; or they are float seconds, and it is met where their ratio is at least the fraction. The time of a class before
an instant is known by binary search, so a detection costs O(log events).

Events found (GTC): detections of one threshold are disjoint, so at one threshold an event lies wholly inside a
detection, or is cut by the ends of detections. Events wholly inside a detection that passes are found, and counted at
once; those that are cut are listed with the time they have in common (`parts`), to be summed over the detections.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from desed_task.metrics.curves.kernels import kernel

Array = NDArray[Any]


@kernel
def _first_above(sorted_times: Array, start: int, stop: int, time: float) -> int:
    """The first position in [start, stop) with a time above `time`, else stop."""
    while start < stop:
        middle = (start + stop) // 2
        if sorted_times[middle] > time:
            stop = middle
        else:
            start = middle + 1
    return start


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
def _enough(shared: float, length: float, fraction: float, whole: bool) -> bool:
    """Whether `shared` is so large a part of `length`; whole: both are whole ticks."""
    if whole:
        return bool(shared >= np.rint(fraction * length)) and shared > 0
    return bool(shared / length >= fraction)


@kernel
def _shared(
    begin: float, end: float, start: int, stop: int, onset: Array, offset: Array, before: Array, disjoint: bool
) -> Any:
    """Time that [begin, end) has in common with the events [start, stop) of one class; before: their summed lengths."""
    if stop - start == 1:  # by far the most frequent case
        return max(min(end, offset[start]) - max(begin, onset[start]), begin - begin)
    if not disjoint:
        total = begin - begin
        for event in range(start, stop):
            if onset[event] < end and begin < offset[event]:
                total += min(end, offset[event]) - max(begin, onset[event])
        return total
    first = _first_above(offset, start, stop, begin)
    last = _first_from(onset, first, stop, end)
    if first == last:
        return begin - begin
    total = before[last] - before[first]
    if begin > onset[first]:
        total -= begin - onset[first]
    if offset[last - 1] > end:
        total -= offset[last - 1] - end
    return total


@kernel
def _room(array: Array, count: int, wanted: int) -> Array:
    """The array, or a larger one with its first `count` values, with room for `wanted` more."""
    if count + wanted <= len(array):
        return array
    larger = np.empty(2 * (count + wanted), array.dtype)
    larger[:count] = array[:count]
    return larger


@kernel
def _summed_lengths(onset: Array, offset: Array) -> Array:
    before = np.zeros(len(onset) + 1, onset.dtype)
    for event in range(len(onset)):
        before[event + 1] = before[event] + offset[event] - onset[event]
    return before


@kernel
def _events_of(label: int, clip: int, first_event: Array, event_label: Array) -> tuple[int, int]:
    """The rows [start, stop) of one class in a clip, whose rows are sorted by class."""
    start, stop = first_event[clip], first_event[clip + 1]
    while start < stop and event_label[start] < label:
        start += 1
    last = start
    while last < stop and event_label[last] == label:
        last += 1
    return start, last


@kernel
def judge_runs(
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
    disjoint: bool,
    whole: bool,
    dtc: float,
) -> tuple[Array, Array, tuple[Array, Array, Array]]:
    """All runs of a batch (see `trees.list_runs`) against the events of their class, sorted by onset.

    Returns (nodes,) whether the run fails, (nodes,) the events wholly inside a run that passes, and parts (event,
    threshold, time): what a run has in common with an event that it cuts, taken back where its parent replaces it.
    """
    num_clips = len(clips)
    before = _summed_lengths(event_onset, event_offset)
    fails, inside = np.zeros(len(onset), np.bool_), np.zeros(len(onset), np.int32)
    part_event, part_time = np.empty(0, np.int64), np.empty(0, onset.dtype)
    part_threshold = np.empty(0, threshold.dtype)
    parts = 0
    for group in range(len(first_node) - 1):
        start, stop = _events_of(group // num_clips, clips[group % num_clips], first_event, event_label)
        for node in range(first_node[group], first_node[group + 1]):
            begin, end, above = onset[node], offset[node], parent[node]
            if start == stop or end == begin:
                fails[node] = end > begin
                continue
            shared = _shared(begin, end, start, stop, event_onset, event_offset, before, disjoint)
            if not _enough(shared, end - begin, dtc, whole):
                fails[node] = True
                continue
            left, right, step = start, stop, 1
            if disjoint:
                left = _first_above(event_offset, start, stop, begin)
                right = _first_from(event_onset, left, stop, end)
                step = max(1, right - 1 - left)  # only the first and the last can be cut
                inside[node] = right - left
            part_event = _room(part_event, parts, 2 * (right - left) // step + 4)
            part_time = _room(part_time, parts, 2 * (right - left) // step + 4)
            part_threshold = _room(part_threshold, parts, 2 * (right - left) // step + 4)
            for event in range(left, right, step):
                time = min(end, event_offset[event]) - max(begin, event_onset[event])
                if time <= 0:
                    continue
                if begin <= event_onset[event] and event_offset[event] <= end:
                    inside[node] += 0 if disjoint else 1
                    continue
                inside[node] -= 1 if disjoint else 0
                part_event[parts], part_time[parts], part_threshold[parts] = event, time, threshold[node]
                parts += 1
                if above >= 0:
                    part_event[parts], part_time[parts], part_threshold[parts] = event, -time, threshold[above]
                    parts += 1
    return fails, inside, (part_event[:parts], part_threshold[:parts], part_time[:parts])


@kernel
def list_changes(
    first_node: Array, threshold: Array, parent: Array, clips: Array, fails: Array, inside: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """What each run adds to the counts, less what its children, which it replaces, had added.

    Returns rows (label, threshold, clip, events wholly inside, false alarms), without those that change nothing.
    """
    num_clips, count = len(clips), len(threshold)
    found, failed = np.zeros(count, np.int32), np.zeros(count, np.int32)
    for node in range(count):
        found[node] += inside[node]
        failed[node] += fails[node]
        if parent[node] >= 0:
            found[parent[node]] -= inside[node]
            failed[parent[node]] -= fails[node]
    changed = np.flatnonzero((found != 0) | (failed != 0))
    label, clip = np.empty(len(changed), np.int32), np.empty(len(changed), np.int32)
    group = 0
    for row in range(len(changed)):
        while first_node[group + 1] <= changed[row]:
            group += 1
        label[row], clip[row] = group // num_clips, clips[group % num_clips]
    return label, threshold[changed], clip, found[changed], failed[changed]


@kernel
def list_cross_changes(
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
    disjoint: bool,
    whole: bool,
    fails: Array,
    cttc: float,
    rates: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """The runs that fail against the events of every other class in their clip.

    rates: (classes,) what a cross-trigger of each class is worth, or (0,). Returns rows (label, threshold, clip, other,
    change of the cross-triggers); with rates, one row for all other classes together (other 0) and the change of their
    worth.
    """
    num_clips, together = len(clips), len(rates) > 0
    before = _summed_lengths(event_onset, event_offset)
    change = np.zeros(len(onset), np.float64)
    label_at, clip_at, other_at = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32)
    threshold_at, change_at = np.empty(0, threshold.dtype), np.empty(0, np.float64)
    rows = 0
    for group in range(len(first_node) - 1):
        label, clip = group // num_clips, clips[group % num_clips]
        first, last = first_node[group], first_node[group + 1]
        start = first_event[clip]
        while start < first_event[clip + 1]:
            other = event_label[start]
            start, stop = _events_of(other, clip, first_event, event_label)
            worth = rates[other] if together else 1.0
            for node in range(first, last):
                begin, end = onset[node], offset[node]
                if other == label or not fails[node]:
                    continue
                shared = _shared(begin, end, start, stop, event_onset, event_offset, before, disjoint)
                if _enough(shared, end - begin, cttc, whole):
                    change[node] += worth
                    if parent[node] >= 0:
                        change[parent[node]] -= worth
            start = stop
            if together and start < first_event[clip + 1]:
                continue
            label_at, clip_at = _room(label_at, rows, last - first), _room(clip_at, rows, last - first)
            other_at, change_at = _room(other_at, rows, last - first), _room(change_at, rows, last - first)
            threshold_at = _room(threshold_at, rows, last - first)
            for node in range(first, last):
                if change[node] != 0.0:
                    label_at[rows], clip_at[rows], other_at[rows] = label, clip, 0 if together else other
                    threshold_at[rows], change_at[rows] = threshold[node], change[node]
                    change[node] = 0.0
                    rows += 1
    return label_at[:rows], threshold_at[:rows], clip_at[:rows], other_at[:rows], change_at[:rows]


@kernel
def sum_parts(
    event: Array, threshold: Array, time: Array, event_onset: Array, event_offset: Array, whole: bool, gtc: float
) -> tuple[Array, Array, Array]:
    """Parts sorted by event and falling threshold -> where the event is found (+1) or lost (-1).

    Returns event, threshold, change, each (rows,).
    """
    out_event, out_change = np.empty(len(event), np.int64), np.empty(len(event), np.int32)
    out_threshold = np.empty(len(event), threshold.dtype)
    rows = 0
    total, is_found = event_onset[:1].sum() * 0, False
    for row in range(len(event)):
        if row == 0 or event[row] != event[row - 1]:
            total, is_found = total * 0, False
        total += time[row]
        same_next = row + 1 < len(event) and event[row + 1] == event[row] and threshold[row + 1] == threshold[row]
        if same_next:
            continue
        now = total > 0 and _enough(total, event_offset[event[row]] - event_onset[event[row]], gtc, whole)
        if now != is_found:
            out_event[rows], out_threshold[rows], out_change[rows] = event[row], threshold[row], 1 if now else -1
            rows += 1
            is_found = now
    return out_event[:rows], out_threshold[:rows], out_change[:rows]


@kernel
def list_groups(label: Array, clip: Array, point: Array) -> Array:
    """(groups + 1,) first rows of the detections of one class, clip and operating point, which lie side by side."""
    first = np.empty(len(label) + 1, np.int64)
    groups = 0
    for row in range(len(label)):
        if row == 0 or label[row] != label[row - 1] or clip[row] != clip[row - 1] or point[row] != point[row - 1]:
            first[groups] = row
            groups += 1
    first[groups] = len(label)
    return first[: groups + 1]


@kernel
def match_lists(
    first_row: Array,
    label: Array,
    clip: Array,
    onset: Array,
    offset: Array,
    first_event: Array,
    event_label: Array,
    event_onset: Array,
    event_offset: Array,
    disjoint: bool,
    whole: bool,
    dtc: float,
    gtc: float,
) -> tuple[Array, Array, Array]:
    """Groups of detections (see `list_groups`) against the events of their class.

    Returns (groups,) events found, (groups,) false alarms, and (detections,) whether each fails.
    """
    before = _summed_lengths(event_onset, event_offset)
    found, failed = np.zeros(len(first_row) - 1, np.int32), np.zeros(len(first_row) - 1, np.int32)
    fails = np.zeros(len(label), np.bool_)
    covered = np.zeros(len(event_onset), event_onset.dtype)
    for group in range(len(found)):
        first = first_row[group]
        start, stop = _events_of(label[first], clip[first], first_event, event_label)
        covered[start:stop] = 0
        for row in range(first, first_row[group + 1]):
            begin, end = onset[row], offset[row]
            shared = _shared(begin, end, start, stop, event_onset, event_offset, before, disjoint)
            fails[row] = start == stop or not _enough(shared, end - begin, dtc, whole)
            failed[group] += fails[row]
            if fails[row]:
                continue
            for event in range(start, stop):
                if event_onset[event] < end and begin < event_offset[event]:
                    covered[event] += min(end, event_offset[event]) - max(begin, event_onset[event])
        for event in range(start, stop):
            length = event_offset[event] - event_onset[event]
            found[group] += covered[event] > 0 and _enough(covered[event], length, gtc, whole)
    return found, failed, fails


@kernel
def match_lists_across(
    first_row: Array,
    label: Array,
    clip: Array,
    onset: Array,
    offset: Array,
    first_event: Array,
    event_label: Array,
    event_onset: Array,
    event_offset: Array,
    disjoint: bool,
    whole: bool,
    fails: Array,
    cttc: float,
) -> tuple[Array, Array, Array]:
    """The detections that fail against the events of every other class: group, other, cross-triggers, each (rows,)."""
    before = _summed_lengths(event_onset, event_offset)
    group_at, other_at, count_at = np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32)
    rows = 0
    for group in range(len(first_row) - 1):
        first = first_row[group]
        start = first_event[clip[first]]
        while start < first_event[clip[first] + 1]:
            other = event_label[start]
            start, stop = _events_of(other, clip[first], first_event, event_label)
            count = 0
            for row in range(first, first_row[group + 1]):
                if fails[row] and other != label[first]:
                    begin, end = onset[row], offset[row]
                    shared = _shared(begin, end, start, stop, event_onset, event_offset, before, disjoint)
                    count += _enough(shared, end - begin, cttc, whole)
            if count > 0:
                group_at, other_at = _room(group_at, rows, 1), _room(other_at, rows, 1)
                count_at = _room(count_at, rows, 1)
                group_at[rows], other_at[rows], count_at[rows] = group, other, count
                rows += 1
            start = stop
    return group_at[:rows], other_at[:rows], count_at[:rows]
