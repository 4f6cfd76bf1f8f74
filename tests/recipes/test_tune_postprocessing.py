"""Tuning as a user runs it: it finds what is known to be best, sees through noise, refuses what it cannot use.

The clips are made up. `hum` lasts for seconds and its scores have dropouts, so it needs a long filter; `click` lasts
three frames, which a filter of seven wipes out; `ghost` never occurs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from desed_task.bundle import read_bundle
from desed_task.errors import DesedTaskError, EventTableError, OptionsError
from desed_task.events import Event, EventTable
from desed_task.formats.dcase import write_durations, write_score_folder, write_strong
from desed_task.labels import LabelSet
from desed_task.listening import open_bundle
from desed_task.postprocessing.pipeline import read_postprocessing
from desed_task.runs.conf import read_conf
from desed_task.scores import Scores
from desed_task.timeline import FrameGrid
from recipes import export_onnx
from recipes.tune_postprocessing import main

GRID = FrameGrid(16_000, 256, 4)  # 64 ms
LABELS = LabelSet(["hum", "click", "ghost"])
NUM_FRAMES, SECONDS = 156, 10.0


def frames_of(events: Sequence[Event], label: str) -> NDArray[np.bool_]:
    active = np.zeros(NUM_FRAMES, dtype=np.bool_)
    for event in events:
        if event.event_label == label:
            active[GRID.frame_at(event.onset) : GRID.frame_after(event.offset)] = True
    return active


def draw_events(rng: np.random.Generator) -> list[Event]:
    first, clicks = int(rng.integers(25, 80)), rng.permutation(np.arange(8, 148, 10))[:4]
    times = [("hum", first, first + 50), *(("click", int(click), int(click) + 3) for click in clicks)]
    return sorted(Event(GRID.seconds_at(begin), GRID.seconds_at(end), label) for label, begin, end in times)


def draw_scores(events: Sequence[Event], rng: np.random.Generator) -> Scores:
    hum, click = frames_of(events, "hum"), frames_of(events, "click")
    values = 0.1 * rng.random((NUM_FRAMES, 3))
    values[:, 0] += np.where(hum, 0.8, 0.05)
    wrong = rng.random(NUM_FRAMES) < 0.2
    values[wrong, 0] = np.where(hum[wrong], 0.1, 0.9) + 0.05 * rng.random(int(wrong.sum()))
    values[:, 1] += np.where(click, 0.35, 0.05)
    return scores_of(values)


def scores_of(values: NDArray[np.float64]) -> Scores:
    frames = values.astype(np.float32)
    return Scores(frames, frames.max(axis=0), GRID, LABELS, SECONDS)


def write_set(folder: Path, events: dict[str, list[Event]], scores: dict[str, Scores]) -> Path:
    write_score_folder(scores, folder / "raw")
    write_strong(EventTable({f"{clip}.wav": of_clip for clip, of_clip in events.items()}), folder / "truth.tsv")
    write_durations({f"{clip}.wav": SECONDS for clip in events}, folder / "durations.tsv")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty clips of ten videos."""
    rng = np.random.default_rng(0)
    names = [f"Y{video:011d}_{start}.000_{start + 10}.000" for video in range(10) for start in (0, 30)]
    events = {name: draw_events(rng) for name in names}
    scores = {name: draw_scores(of_clip, rng) for name, of_clip in events.items()}
    return write_set(tmp_path_factory.mktemp("clips"), events, scores)


def flags(clips: Path, output: Path) -> list[str]:
    tables = ["--ground-truth", str(clips / "truth.tsv"), "--durations", str(clips / "durations.tsv")]
    return ["--scores", str(clips / "raw"), *tables, "--output-dir", str(output), "--bootstrap-samples", "30"]


def tuning_in(output: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((output / "tuning.json").read_text())
    return tree


@pytest.fixture(scope="module")
def tuned(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("tuned") / "out"
    assert main([*flags(clips, output), "--objective", "intersection_f1"]) == 0
    return output


@pytest.mark.parametrize("objective", ["intersection_f1", "collar_f1", "psds1"])
def test_each_class_gets_the_filter_that_its_events_need(clips: Path, tmp_path: Path, objective: str) -> None:
    assert main([*flags(clips, tmp_path / "out"), "--objective", objective]) == 0
    tree = tuning_in(tmp_path / "out")
    chosen = {label: of_class["chosen"]["median_filter_seconds"] for label, of_class in tree["classes"].items()}
    assert chosen["hum"] >= 0.576
    assert chosen["click"] == 0.32  # as good as 0 and 0.192, and nearest to the default
    assert 0.15 < tree["classes"]["click"]["chosen"]["threshold"] < 0.35
    figure = tree["figures"][objective]
    assert figure["gain"]["low"] > 0.1
    assert figure["out_of_fold"] == pytest.approx(figure["untuned"] + figure["gain"]["value"])


def test_a_class_without_events_keeps_its_default_and_says_so(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*flags(clips, tmp_path / "out"), "--objective", "collar_f1"])
    ghost = tuning_in(tmp_path / "out")["classes"]["ghost"]
    assert (ghost["events"], ghost["chosen"]) == (0, {"median_filter_seconds": 0.448, "threshold": 0.5})
    printed = capsys.readouterr().out
    assert "ghost has no events: it keeps its default" in printed
    assert "in sample: optimistic, not a result" in printed


def test_clips_of_one_video_are_judged_together_and_folds_say_how_sure_a_choice_is(tuned: Path) -> None:
    tree = tuning_in(tuned)
    folds = tree["fold_of_clip"]
    for video in range(10):
        assert len({fold for clip, fold in folds.items() if clip.startswith(f"Y{video:011d}")}) == 1
    assert (tree["clips"], tree["sources"], tree["folds"]) == (20, 10, 5)
    for of_class in tree["classes"].values():
        lengths = [of_fold["median_filter_seconds"] for of_fold in of_class["of_folds"]]
        same = lengths.count(of_class["chosen"]["median_filter_seconds"])
        assert of_class["folds_that_chose_the_same_length"] == same
    assert tree["classes"]["click"]["folds_that_chose_the_same_length"] == 5


def test_tuning_on_noise_gains_in_sample_and_nothing_out_of_fold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Scores know nothing of the labels, and the start, "say everything", is the best that can be known of others.
    start = tmp_path / "everything.yaml"
    start.write_text("postprocessing: {median_filter_seconds: 0, threshold: 0.01}\n")
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        events, scores = {}, {}
        for clip in range(16):
            events[f"clip_{clip}"] = [Event(0.0, SECONDS, label) for label in LABELS if rng.random() < 0.5]
            scores[f"clip_{clip}"] = scores_of(np.tile(rng.uniform(0.05, 1.0, 3), (NUM_FRAMES, 1)))
        folder, output = write_set(tmp_path / f"set_{seed}", events, scores), tmp_path / f"out_{seed}"
        arguments = [*flags(folder, output), "--objective", "segment_f1", "--folds", "8"]
        assert main([*arguments, "--postprocessing", str(start), "--median-filter-seconds", "0"]) == 0
        figure = tuning_in(output)["figures"]["segment_f1"]
        gains.append([figure[name] - figure["untuned"] for name in ("in_sample_not_a_result", "out_of_fold")])
        assert "no gain in segment_f1 is shown" in capsys.readouterr().out
    in_sample, out_of_fold = np.mean(gains, axis=0)
    assert in_sample > 0.02
    assert out_of_fold < 0


def test_the_settings_are_a_section_of_a_conf(tuned: Path, tmp_path: Path, project: Path) -> None:
    settings = read_postprocessing(tuned / "tuned.yaml", LABELS)
    conf = tmp_path / "mine.yaml"
    classes = f"labels: {list(LABELS)}\n"
    conf.write_text(f"base: {project / 'confs/sed/demo.yaml'}\n{classes}" + (tuned / "tuned.yaml").read_text())
    assert read_conf(conf).postprocessing == settings
    classes_of = yaml.safe_load((tuned / "tuned.yaml").read_text())["postprocessing"]
    assert set(classes_of["median_filter_seconds"]) == set(classes_of["threshold"]) == set(LABELS)


@pytest.fixture
def other_settings(tmp_path: Path) -> Path:
    path = tmp_path / "tuned.yaml"
    path.write_text(
        "postprocessing: {median_filter_seconds: {hum: 0.8, hiss: 0.1}, threshold: {hum: 0.3, hiss: 0.9}}\n"
    )
    return path


def test_a_bundle_is_exported_and_evaluated_with_tuned_settings(
    small_checkpoint: Path, tiny_bundle: Path, other_settings: Path, tmp_path: Path
) -> None:
    output = tmp_path / "bundle"
    arguments = ["--checkpoint", str(small_checkpoint), "--output", str(output)]
    assert export_onnx.main([*arguments, "--postprocessing", str(other_settings)]) == 0
    bundle = read_bundle(output)
    assert bundle.postprocessing.threshold == {"hum": 0.3, "hiss": 0.9}
    assert bundle.provenance["postprocessing"]["file"] == "tuned.yaml"
    assert bundle.provenance["options"]["postprocessing"]["threshold"] == {"hum": 0.5, "hiss": 0.4}
    other_settings.write_text("postprocessing: {threshold: 0.7}\n")
    listener = open_bundle(tiny_bundle, "cpu").with_postprocessing(other_settings)
    assert listener.postprocessing.thresholds == (0.7, 0.7)
    assert listener.postprocessing.median_filter_seconds == (0.448, 0.448)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("postprocessing: {threshold: {hum: 0.3}}", "tuned.yaml: postprocessing.threshold: no value for 'hiss'"),
        ("postprocessing: {threshold: {dog: 0.3, default: 0.1}}", "'dog' is not a class"),
        ("postprocessing: {treshold: 0.3}", "did you mean 'threshold'"),
        ("labels: [hum]\npostprocessing: {threshold: 0.3}", "labels: unknown key"),
        ("postprocessing: {threshold: 1.3}", "1.3 is not between 0 and 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    small_checkpoint: Path, other_settings: Path, tmp_path: Path, text: str, message: str
) -> None:
    other_settings.write_text(text)
    arguments = ["--checkpoint", str(small_checkpoint), "--output", str(tmp_path / "bundle")]
    with pytest.raises(OptionsError, match=message):
        export_onnx.main([*arguments, "--postprocessing", str(other_settings)])
    assert not (tmp_path / "bundle").exists()


def test_tuning_starts_from_given_settings_and_takes_several_runs(clips: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.yaml"
    start.write_text("postprocessing: {median_filter_seconds: {click: 0.83, default: 0.2}, threshold: 0.4}\n")
    run = ["--scores", str(clips / "raw"), "--postprocessing", str(start), "--objective", "segment_f1"]
    assert main([*flags(clips, tmp_path / "out"), *run]) == 0
    tree = tuning_in(tmp_path / "out")
    assert len(tree["scores"]) == 2
    assert {0.83, 0.2} <= set(tree["median_filter_seconds_tried"])
    assert tree["classes"]["click"]["default"] == {"median_filter_seconds": 0.83, "threshold": 0.4}
    assert tree["classes"]["ghost"]["chosen"] == {"median_filter_seconds": 0.2, "threshold": 0.4}


def break_nothing(folder: Path) -> None:
    pass


def first_table(folder: Path) -> Path:
    return min((folder / "raw").glob("*.tsv"))


def replace_line(path: Path, number: int, line: str) -> None:
    lines = path.read_text().splitlines()
    lines[number - 1] = line
    path.write_text("\n".join(lines) + "\n")


def cut_unequal(folder: Path) -> None:
    edges = [0.0, 1.0, 2.0, 5.0, 6.0, 10.0]
    rows = [f"{a}\t{b}\t.1\t.1\t.1" for a, b in pairwise(edges)]
    first_table(folder).write_text("\n".join(["onset\toffset\thum\tclick\tghost", *rows]) + "\n")


REFUSED: list[tuple[str, Any, list[str], str]] = [
    ("no such folder", break_nothing, ["--scores", "nowhere"], "nowhere: no such folder of score tables"),
    ("no tables", lambda f: [p.unlink() for p in (f / "raw").iterdir()], [], "holds no score table"),
    ("filtered already", lambda f: (f / "raw").rename(f / "postprocessed"), [], "no such folder"),
    ("no ground truth", lambda f: (f / "truth.tsv").unlink(), [], "truth.tsv: no such table"),
    ("no durations", lambda f: (f / "durations.tsv").unlink(), [], "durations.tsv: no such table"),
    ("another class", lambda f: replace_line(f / "truth.tsv", 2, "a.wav\t0\t1\tdog"), [], "row 2: class 'dog'"),
    (
        "no event",
        lambda f: (f / "truth.tsv").write_text("filename\tonset\toffset\tevent_label\n"),
        [],
        "no event lies in a clip that has scores",
    ),
    (
        "no duration",
        lambda f: replace_line(f / "durations.tsv", 2, "other.wav\t10"),
        [],
        "has scores but no duration",
    ),
    (
        "not in [0, 1]",
        lambda f: replace_line(first_table(f), 2, "0.0\t0.064\t1.5\t.1\t.1"),
        [],
        r"scores must lie in \[0, 1\]",
    ),
    (
        "not a number",
        lambda f: replace_line(first_table(f), 2, "0.0\t0.064\tmany\t.1\t.1"),
        [],
        "row 2: .*many",
    ),
    (
        "other classes",
        lambda f: replace_line(first_table(f), 1, "onset\toffset\thum\tclick\tspirit"),
        [],
        "row 1: other classes than in",
    ),
    ("unequal windows", cut_unequal, [], "a median filter needs windows of one length"),
    ("too many folds", break_nothing, ["--folds", "11"], "20 clips of 10 sources cannot be cut into 11 folds"),
    ("a bad pattern", break_nothing, ["--group-by", "video"], "has 0 groups in parentheses"),
    ("a negative length", break_nothing, ["--median-filter-seconds", "-1"], "write seconds, 0"),
    ("no settings", break_nothing, ["--postprocessing", "absent.yaml"], "absent.yaml: no such conf"),
]


@pytest.mark.parametrize(("damage", "more", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_tuned_is_refused_in_one_sentence(
    clips: Path, tmp_path: Path, damage: Any, more: list[str], message: str
) -> None:
    folder = tmp_path / "copy"
    (folder / "raw").mkdir(parents=True)
    for path in [*clips.glob("*.tsv"), *clips.glob("raw/*.tsv")]:
        (folder / path.relative_to(clips)).write_text(path.read_text())
    damage(folder)
    with pytest.raises(DesedTaskError, match=message) as refused:
        main([*flags(folder, tmp_path / "out"), *more])
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_filtered_scores_are_not_filtered_again(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "postprocessed").mkdir()
    arguments = [*flags(clips, tmp_path / "out"), "--scores", str(tmp_path / "postprocessed")]
    with pytest.raises(EventTableError, match="filtered already; name the folder `raw`"):
        main(arguments)


def test_the_recipe_as_a_process(clips: Path, tuned: Path, tmp_path: Path, project: Path) -> None:
    command = [sys.executable, str(project / "recipes" / "tune_postprocessing.py")]
    arguments = [*flags(clips, tmp_path / "out"), "--objective", "intersection_f1"]
    ran = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "| intersection_f1 |" in ran.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["tuned.yaml", "tuning.json"]
    assert (tmp_path / "out" / "tuned.yaml").read_text() == (tuned / "tuned.yaml").read_text()
    refused = subprocess.run([*command, *arguments, "--folds", "50"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "error: 20 clips of 10 sources cannot be cut into 50 folds" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_objective_is_refused(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*flags(clips, tmp_path / "out"), "--objective", "psds3"])
    assert "invalid choice: 'psds3'" in capsys.readouterr().err
