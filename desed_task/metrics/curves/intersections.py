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
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def _first_above(sorted_times: Array, start: int, stop: int, time: float) -> int:
    """The first position in [start, stop) with a time above `time`, else stop."""
    while start < stop:
        middle = (start + stop) // 2
        if sorted_times[middle] > time:
            stop = middle
        else:
            start = middle + 1
    return start


@njit(cache=True, nogil=True)
def _first_from(sorted_times: Array, start: int, stop: int, time: float) -> int:
    """The first position in [start, stop) with a time at or above `time`, else stop."""
    while start < stop:
        middle = (start + stop) // 2
        if sorted_times[middle] >= time:
            stop = middle
        else:
            start = middle + 1
    return start


@njit(cache=True, nogil=True)
def _enough(shared: float, length: float, fraction: float, whole: bool) -> bool:
    """Whether `shared` is so large a part of `length`; whole: both are whole ticks."""
    if whole:
        return bool(shared >= np.rint(fraction * length))
    return bool(shared / length >= fraction)


@njit(cache=True, nogil=True)
def _shared(
    begin: float, end: float, start: int, stop: int, onset: Array, offset: Array, before: Array, disjoint: bool
) -> float:
    """Time that [begin, end) has in common with the events [start, stop) of one class; before: their summed lengths."""
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


@njit(cache=True, nogil=True)
def _room(array: Array, count: int, wanted: int) -> Array:
    """The array, or a larger one with its first `count` values, with room for `wanted` more."""
    if count + wanted <= len(array):
        return array
    larger = np.empty(2 * (count + wanted), array.dtype)
    larger[:count] = array[:count]
    return larger


@njit(cache=True, nogil=True)
def _summed_lengths(onset: Array, offset: Array) -> Array:
    before = np.zeros(len(onset) + 1, onset.dtype)
    for event in range(len(onset)):
        before[event + 1] = before[event] + offset[event] - onset[event]
    return before


@njit(cache=True, nogil=True)
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
    disjoint: bool,
    whole: bool,
    dtc: float,
    cttc: float,
) -> tuple[
    tuple[Array, Array, Array, Array, Array], tuple[Array, Array, Array, Array, Array], tuple[Array, Array, Array]
]:
    """All runs of a batch (see `trees.list_runs`) against the events of their clips, sorted by class and onset.

    cttc: negative when cross-triggers are not wanted. Returns rows (label, threshold, clip, true positives by events
    wholly inside, false alarms), cross rows (label, threshold, clip, other, count), parts (event, threshold, time).
    """
    num_clips, num_nodes = len(clips), len(onset)
    before = _summed_lengths(event_onset, event_offset)
    row_label, row_clip = np.empty(num_nodes, np.int32), np.empty(num_nodes, np.int32)
    row_threshold = np.empty(num_nodes, threshold.dtype)
    row_found, row_failed = np.empty(num_nodes, np.int32), np.empty(num_nodes, np.int32)
    rows = 0
    cross_label, cross_clip = np.empty(0, np.int32), np.empty(0, np.int32)
    cross_threshold = np.empty(0, threshold.dtype)
    cross_other, cross_count = np.empty(0, np.int32), np.empty(0, np.int32)
    crosses = 0
    part_event, part_time = np.empty(0, np.int64), np.empty(0, onset.dtype)
    part_threshold = np.empty(0, threshold.dtype)
    parts = 0
    fails = np.zeros(num_nodes, np.bool_)
    # per node, what it adds less what its children, which it replaces, had added
    found, failed, crossed = np.zeros(num_nodes, np.int32), np.zeros(num_nodes, np.int32), np.zeros(num_nodes, np.int32)

    for group in range(len(first_node) - 1):
        label, clip = group // num_clips, clips[group % num_clips]
        first_node_here, last_node_here = first_node[group], first_node[group + 1]
        start, stop = first_event[clip], first_event[clip + 1]
        while start < stop and event_label[start] < label:
            start += 1
        while start < stop and event_label[stop - 1] > label:
            stop -= 1
        for node in range(first_node_here, last_node_here):
            begin, end, above = onset[node], offset[node], parent[node]
            if end == begin:
                continue
            shared = _shared(begin, end, start, stop, event_onset, event_offset, before, disjoint)
            if start == stop or not _enough(shared, end - begin, dtc, whole):
                fails[node] = True
                failed[node] += 1
                if above >= 0:
                    failed[above] -= 1
                continue
            left, right = start, stop
            if disjoint:
                left = _first_above(event_offset, start, stop, begin)
                right = _first_from(event_onset, left, stop, end)
            inside = 0
            wanted = 2 * (right - left)
            if disjoint:
                wanted = 4
                inside = right - left
            part_event = _room(part_event, parts, wanted)
            part_time = _room(part_time, parts, wanted)
            part_threshold = _room(part_threshold, parts, wanted)
            # of disjoint events only the first and the last can be cut
            for event in range(left, right, max(1, right - 1 - left) if disjoint else 1):
                time = min(end, event_offset[event]) - max(begin, event_onset[event])
                if time <= 0:
                    continue
                if begin <= event_onset[event] and event_offset[event] <= end:
                    if not disjoint:
                        inside += 1
                    continue
                if disjoint:
                    inside -= 1
                part_event[parts], part_time[parts], part_threshold[parts] = event, time, threshold[node]
                parts += 1
                if above >= 0:
                    part_event[parts], part_time[parts], part_threshold[parts] = event, -time, threshold[above]
                    parts += 1
            found[node] += inside
            if above >= 0:
                found[above] -= inside
        for node in range(first_node_here, last_node_here):
            if found[node] != 0 or failed[node] != 0:
                row_label[rows], row_threshold[rows], row_clip[rows] = label, threshold[node], clip
                row_found[rows], row_failed[rows] = found[node], failed[node]
                rows += 1
        if cttc < 0.0:
            continue
        other_start = first_event[clip]
        while other_start < first_event[clip + 1]:
            other, other_stop = event_label[other_start], other_start + 1
            while other_stop < first_event[clip + 1] and event_label[other_stop] == other:
                other_stop += 1
            if other != label:
                wanted = last_node_here - first_node_here
                cross_label, cross_clip = _room(cross_label, crosses, wanted), _room(cross_clip, crosses, wanted)
                cross_other, cross_count = _room(cross_other, crosses, wanted), _room(cross_count, crosses, wanted)
                cross_threshold = _room(cross_threshold, crosses, wanted)
                crossed[first_node_here:last_node_here] = 0
                for node in range(first_node_here, last_node_here):
                    if not fails[node]:
                        continue
                    begin, end = onset[node], offset[node]
                    shared = _shared(begin, end, other_start, other_stop, event_onset, event_offset, before, disjoint)
                    if _enough(shared, end - begin, cttc, whole):
                        crossed[node] += 1
                        if parent[node] >= 0:
                            crossed[parent[node]] -= 1
                for node in range(first_node_here, last_node_here):
                    if crossed[node] != 0:
                        cross_label[crosses], cross_threshold[crosses] = label, threshold[node]
                        cross_clip[crosses], cross_other[crosses], cross_count[crosses] = clip, other, crossed[node]
                        crosses += 1
            other_start = other_stop
    return (
        (row_label[:rows], row_threshold[:rows], row_clip[:rows], row_found[:rows], row_failed[:rows]),
        (
            cross_label[:crosses],
            cross_threshold[:crosses],
            cross_clip[:crosses],
            cross_other[:crosses],
            cross_count[:crosses],
        ),
        (part_event[:parts], part_threshold[:parts], part_time[:parts]),
    )


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
    disjoint: bool,
    whole: bool,
    dtc: float,
    gtc: float,
    cttc: float,
) -> tuple[tuple[Array, Array, Array, Array, Array], tuple[Array, Array, Array, Array, Array]]:
    """Detections sorted by class, clip and operating point, against the events of their clips.

    Returns rows (label, point, clip, true positives, false alarms) and cross rows (label, point, clip, other, count):
    the counts of each point, not their differences.
    """
    count = len(label)
    before = _summed_lengths(event_onset, event_offset)
    row_label, row_clip, row_point = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    row_found, row_failed = np.empty(count, np.int32), np.empty(count, np.int32)
    rows = 0
    cross_label, cross_clip, cross_point = np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32)
    cross_other, cross_count = np.empty(0, np.int32), np.empty(0, np.int32)
    crosses = 0
    fails = np.zeros(count, np.bool_)
    covered = np.zeros(len(event_onset), event_onset.dtype)
    first = 0
    while first < count:
        last = first + 1
        while (
            last < count and label[last] == label[first] and clip[last] == clip[first] and point[last] == point[first]
        ):
            last += 1
        here = clip[first]
        start, stop = first_event[here], first_event[here + 1]
        while start < stop and event_label[start] < label[first]:
            start += 1
        while start < stop and event_label[stop - 1] > label[first]:
            stop -= 1
        covered[start:stop] = 0
        num_failed = 0
        for row in range(first, last):
            begin, end = onset[row], offset[row]
            shared = _shared(begin, end, start, stop, event_onset, event_offset, before, disjoint)
            fails[row] = start == stop or not _enough(shared, end - begin, dtc, whole)
            if fails[row]:
                num_failed += 1
                continue
            for event in range(start, stop):
                if event_onset[event] < end and begin < event_offset[event]:
                    covered[event] += min(end, event_offset[event]) - max(begin, event_onset[event])
        num_found = 0
        for event in range(start, stop):
            length = event_offset[event] - event_onset[event]
            num_found += covered[event] > 0 and _enough(covered[event], length, gtc, whole)
        row_label[rows], row_point[rows], row_clip[rows] = label[first], point[first], here
        row_found[rows], row_failed[rows] = num_found, num_failed
        rows += 1
        other_start = first_event[here]
        while cttc >= 0.0 and num_failed and other_start < first_event[here + 1]:
            other, other_stop = event_label[other_start], other_start + 1
            while other_stop < first_event[here + 1] and event_label[other_stop] == other:
                other_stop += 1
            num_crossed = 0
            for row in range(first, last):
                if fails[row] and other != label[first]:
                    shared = _shared(
                        onset[row], offset[row], other_start, other_stop, event_onset, event_offset, before, disjoint
                    )
                    num_crossed += _enough(shared, offset[row] - onset[row], cttc, whole)
            if num_crossed:
                cross_label, cross_clip = _room(cross_label, crosses, 1), _room(cross_clip, crosses, 1)
                cross_point = _room(cross_point, crosses, 1)
                cross_other, cross_count = _room(cross_other, crosses, 1), _room(cross_count, crosses, 1)
                cross_label[crosses], cross_point[crosses], cross_clip[crosses] = label[first], point[first], here
                cross_other[crosses], cross_count[crosses] = other, num_crossed
                crosses += 1
            other_start = other_stop
        first = last
    return (
        (row_label[:rows], row_point[:rows], row_clip[:rows], row_found[:rows], row_failed[:rows]),
        (
            cross_label[:crosses],
            cross_point[:crosses],
            cross_clip[:crosses],
            cross_other[:crosses],
            cross_count[:crosses],
        ),
    )
