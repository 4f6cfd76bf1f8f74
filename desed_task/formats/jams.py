"""JAMS as Scaper writes it: a JSON file per scene that says which sound was mixed in when, how loud and how changed.

    annotations[0].namespace            "scaper"
    annotations[0].data[]               time, duration (what is heard, seconds), confidence, and value:
        label, role                     class; "foreground" or "background"
        source_file, source_time        recording, and where in it the sound begins (seconds)
        event_time, event_duration      onset, and length before it is stretched (seconds)
        snr                             decibels over sandbox.scaper.ref_db
        pitch_shift, time_stretch       semitones, factor on the length; null where unchanged
    annotations[0].sandbox.scaper       duration, sr, ref_db, fade_in_len, fade_out_len, reverb ...

Humphrey et al. 2014; Salamon et al. 2017. Scaper's levels are LUFS. Ours are RMS unless a conf says otherwise; our
files say so in `sandbox.desed_task`, which also holds the rules of the annotation (gaps that are closed, shortest
event) and, for each foreground sound, the changes that Scaper has no word for (a tape's speed is written as stretch and
shift together). What is read back has the events of our tables; where nothing was synthesised, varied or faded, it
renders to the same samples too, and with levels in LUFS also where it was faded. Recordings must be what they were when
the scene was drawn: out of which silence is stripped while they are read, they are not described by times in them.
Files of the namespace before Scaper 1.0, `sound_event`, are refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any, cast

from desed_task.errors import EventTableError
from desed_task.soundscapes.render import PEAK_LIMIT, SCAPER_PEAK_LIMIT
from desed_task.soundscapes.scaper import LevelMeasure, Role, ScaperEvent, ScaperScene
from desed_task.soundscapes.scene import PlacedEvent, Scene
from desed_task.soundscapes.soundbank import Sound

NAMESPACE = "scaper"
JAMS_VERSION = "0.3.5"
# What Scaper uses where a file of an older version does not say.
_SCAPER_SAMPLE_RATE, _SCAPER_FADE_SECONDS = 44_100, 0.01
_LONGEST_SECONDS, _LOWEST_RATE, _HIGHEST_RATE = 86_400.0, 8_000, 192_000
_LARGEST_FACTOR = 10
_FOR_SCAPER = {"fix_clipping": True, "protected_labels": [], "fg_path": ".", "bg_path": "."}
_ROLES = ("foreground", "background")


def read_jams(path: Path) -> ScaperScene:
    """Read one scene. EventTableError names what is broken, missing or of another namespace."""
    tree = _read_json(path)
    annotation = _scaper_annotation(tree, path)
    sandbox = _section(annotation.get("sandbox"), f"{path}: annotations.sandbox")
    scaper = _section(sandbox.get("scaper"), f"{path}: annotations.sandbox.scaper")
    ours = _section(sandbox.get("desed_task", {}), f"{path}: annotations.sandbox.desed_task")
    rows = annotation.get("data")
    if not isinstance(rows, list):
        raise EventTableError(f"{path}: annotations.data is not a list; export it with JAMS 0.3 or later")
    place = f"{path}: sandbox.scaper"
    duration = _number(scaper, "duration", place)
    sample_rate = _number(scaper, "sr", place, _SCAPER_SAMPLE_RATE)
    if not 0 < duration <= _LONGEST_SECONDS or not _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
        raise EventTableError(f"{place}: a scene of {duration:g} s at {sample_rate:g} Hz cannot be; correct the file")
    reverb = _number(scaper, "reverb", place, 0.0)
    if not 0 <= reverb <= 1:
        raise EventTableError(f"{place}: reverb {reverb} is not in [0, 1]")
    fades = [_number(scaper, key, place, _SCAPER_FADE_SECONDS) for key in ("fade_in_len", "fade_out_len")]
    if min(fades) < 0:
        raise EventTableError(f"{place}: fades of {fades} s; they cannot be negative")
    gap = _number(ours, "same_class_gap_seconds", f"{path}: sandbox.desed_task", -1.0)
    return ScaperScene(
        duration=duration,
        sample_rate=int(sample_rate),
        # With `fix_clipping` the whole mixture is quieter than was asked for.
        ref_db=_number(scaper, "ref_db", place) + _number(scaper, "ref_db_change", place, 0.0),
        placed=tuple(
            _read_observation(row, duration, f"{path}: observation {number}") for number, row in enumerate(rows)
        ),
        fade_in_seconds=fades[0],
        fade_out_seconds=fades[1],
        reverb=reverb or None,
        level_measure=_level_measure(ours, path),
        min_event_seconds=_number(ours, "min_event_seconds", f"{path}: sandbox.desed_task", 0.0),
        same_class_gap_seconds=None if gap < 0 else gap,
        peak_limit=_peak_limit(scaper, ours),
        whole_samples=bool(ours),
    )


def write_jams(scene: Scene, path: Path, audio_path: str, root: Path | None = None) -> None:
    """Write one of our scenes. `root`: the soundbank's folder, which source files are then relative to."""
    annotation = {
        "annotation_metadata": _annotation_metadata(),
        "namespace": NAMESPACE,
        "data": [_background(scene, root), *(_foreground(placed, scene, root) for placed in scene.placed)],
        "sandbox": {"scaper": _scaper_sandbox(scene, audio_path), "desed_task": _own_sandbox(scene)},
        "time": 0,
        "duration": scene.duration,
    }
    metadata = {"title": "", "artist": "", "release": "", "duration": scene.duration, "identifiers": {}}
    tree = {
        "annotations": [annotation],
        "file_metadata": {**metadata, "jams_version": JAMS_VERSION},
        "sandbox": {},
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(tree, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        tree = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise EventTableError(f"{path}: no such JAMS file") from None
    except UnicodeDecodeError:
        raise EventTableError(f"{path}: not UTF-8 text; a JAMS file is JSON") from None
    except json.JSONDecodeError as error:
        raise EventTableError(
            f"{path}: not valid JSON (line {error.lineno}: {error.msg}); copy or generate it again"
        ) from None
    except RecursionError:
        raise EventTableError(f"{path}: nested too deeply to be a JAMS file") from None
    except OSError as error:
        raise EventTableError(f"{path}: cannot be read ({error.strerror})") from None
    return _section(tree, str(path))


def _scaper_annotation(tree: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    annotations = tree.get("annotations")
    if not isinstance(annotations, list) or not annotations:
        raise EventTableError(f"{path}: no annotations; a JAMS file has a list of them")
    found = [_section(annotation, f"{path}: annotations") for annotation in annotations]
    for annotation in found:
        if annotation.get("namespace") == NAMESPACE:
            return annotation
    namespaces = ", ".join(sorted({str(annotation.get("namespace")) for annotation in found}))
    raise EventTableError(f"{path}: namespace {namespaces}; only scenes of the namespace {NAMESPACE} can be read")


def _read_observation(row: Any, scene_duration: float, place: str) -> ScaperEvent:
    observation = _section(row, place)
    value = _section(observation.get("value"), f"{place}: value")
    role = _text(value, "role", place)
    if role not in _ROLES:
        raise EventTableError(f"{place}: role {role!r} is neither foreground nor background")
    event = ScaperEvent(
        event_label=_text(value, "label", place),
        source_file=_text(value, "source_file", place),
        source_time=_number(value, "source_time", place),
        onset=_number(observation, "time", place),
        duration=_number(observation, "duration", place),
        event_duration=_number(value, "event_duration", place),
        snr_db=_number(value, "snr", place),
        role=cast(Role, role),
        pitch_semitones=_number(value, "pitch_shift", place, 0.0),
        time_stretch=_number(value, "time_stretch", place, 1.0),
    )
    for name in ("duration", "event_duration", "time_stretch"):
        if getattr(event, name) <= 0:
            raise EventTableError(f"{place}: {name} {getattr(event, name)} is not positive")
    if event.source_time < 0:
        raise EventTableError(f"{place}: source_time {event.source_time} s is negative")
    if not 0 <= event.onset < scene_duration:
        raise EventTableError(f"{place}: time {event.onset} s is not within the scene of {scene_duration:g} s")
    if not _LARGEST_FACTOR >= event.time_stretch >= 1 / _LARGEST_FACTOR:
        raise EventTableError(f"{place}: time_stretch {event.time_stretch} is more than a factor of {_LARGEST_FACTOR}")
    return event


def _peak_limit(scaper: Mapping[str, Any], ours: Mapping[str, Any]) -> float | None:
    """Beyond which a mixture is scaled down: ours always, Scaper's where it was asked to."""
    if ours.get("level_measure") == "rms":
        return PEAK_LIMIT
    return SCAPER_PEAK_LIMIT if scaper.get("fix_clipping") else None


def _level_measure(ours: Mapping[str, Any], path: Path) -> LevelMeasure:
    measure = ours.get("level_measure", "lufs")
    if measure not in ("lufs", "rms"):
        raise EventTableError(f"{path}: sandbox.desed_task: level_measure {measure!r} is neither lufs nor rms")
    return cast(LevelMeasure, measure)


def _section(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise EventTableError(f"{place}: missing or not a section; this is not what Scaper writes")
    return value


def _number(section: Mapping[str, Any], key: str, place: str, default: float | None = None) -> float:
    """A finite number; the default where it is null or missing."""
    value = section.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise EventTableError(f"{place}: {key} {value!r} is not a number")
    return float(value)


def _text(section: Mapping[str, Any], key: str, place: str) -> str:
    value = section.get(key)
    if not isinstance(value, str) or not value:
        raise EventTableError(f"{place}: {key} {value!r} is not a text")
    return value


def _foreground(placed: PlacedEvent, scene: Scene, root: Path | None) -> dict[str, Any]:
    """An observation: tape speed is stretch and shift at once, so `time_stretch` and `pitch_shift` hold both."""
    varied = placed.variation
    pitch = varied.pitch_semitones + 12 * math.log2(varied.speed)
    stretched = varied.time_stretch / varied.speed
    sample_rate, duration = scene.sample_rate, placed.heard_samples / scene.sample_rate
    onset = placed.onset_sample / sample_rate
    if scene.levels == "lufs" and int(onset * sample_rate) < placed.onset_sample:
        onset = math.nextafter(onset, math.inf)  # Scaper rounds the product down
    value = {
        "label": placed.sound.event_label,
        "source_file": _source_file(placed.sound, root),
        "source_time": placed.sound.start_seconds + placed.first / sample_rate,
        "event_time": onset,
        "event_duration": placed.num_samples / sample_rate,
        "snr": placed.snr_db,
        "role": "foreground",
        "pitch_shift": pitch or None,
        "time_stretch": None if stretched == 1.0 else stretched,
    }
    return {"time": onset, "duration": duration, "value": value, "confidence": 1.0}


def _background(scene: Scene, root: Path | None) -> dict[str, Any]:
    value = {
        "label": scene.background.event_label,
        "source_file": _source_file(scene.background, root),
        "source_time": scene.background.start_seconds,
        "event_time": 0,
        "event_duration": scene.duration,
        "snr": 0,
        "role": "background",
        "pitch_shift": None,
        "time_stretch": None,
    }
    return {"time": 0.0, "duration": scene.duration, "value": value, "confidence": 1.0}


def _source_file(sound: Sound, root: Path | None) -> str:
    recording = PurePath(sound.recording)
    if root is not None and recording.is_relative_to(root):
        recording = recording.relative_to(root)
    return recording.as_posix()


def _scaper_sandbox(scene: Scene, audio_path: str) -> dict[str, Any]:
    fade_seconds = scene.fade_samples / scene.sample_rate
    return {
        "duration": scene.duration,
        "original_duration": scene.duration,
        "fg_labels": sorted({placed.sound.event_label for placed in scene.placed}),
        "bg_labels": [scene.background.event_label],
        "sr": scene.sample_rate,
        "ref_db": scene.background_db,
        "n_channels": 1,
        "fade_in_len": fade_seconds,
        "fade_out_len": fade_seconds,
        "n_events": len(scene.placed),
        "reverb": None,
        "audio_path": audio_path,
        "ref_db_change": 0,
        # What Scaper needs to render the scene itself, in the soundbank's folder; it can where levels are its own.
        **(_FOR_SCAPER if scene.levels == "lufs" else {}),
    }


def _own_sandbox(scene: Scene) -> dict[str, Any]:
    return {
        "level_measure": scene.levels,
        "min_event_seconds": scene.min_event_samples / scene.sample_rate,
        "same_class_gap_seconds": scene.same_class_gap_seconds,
        "foreground": [
            {
                "source": placed.sound.source,
                "take": placed.sound.take,
                "variation": asdict(placed.variation),
                "response": None if placed.response is None else asdict(placed.response),
            }
            for placed in scene.placed
        ],
    }


def _annotation_metadata() -> dict[str, Any]:
    empty = ("version", "corpus", "annotation_tools", "annotation_rules", "validation", "data_source")
    return {"curator": {"name": "", "email": ""}, "annotator": {}, **dict.fromkeys(empty, "")}
