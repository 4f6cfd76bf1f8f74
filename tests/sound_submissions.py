"""A small evaluation set and sound submissions of every kind, which the tests then break one rule at a time.

Three clips of 10, 10 and 6 s, classes Cat and Dog:

    seconds    0    2    4    6    8    10
    a.wav      |Cat------|    |Dog-|          Cat 0-4, Dog 6-8
    b.wav           |Dog------------|         Dog 2-8
    c.wav      |    Cat  |                    Cat 1-4
"""

from __future__ import annotations

from pathlib import Path

GROUND_TRUTH = (
    ("a.wav", 0.0, 4.0, "Cat"),
    ("a.wav", 6.0, 8.0, "Dog"),
    ("b.wav", 2.0, 8.0, "Dog"),
    ("c.wav", 1.0, 4.0, "Cat"),
)
DURATIONS = {"a.wav": 10.0, "b.wav": 10.0, "c.wav": 6.0}
# Windows of different lengths; the last ends 0.1 s before the clip does.
SCORES = {
    "a": ((0, 4, 0.9, 0.1), (4, 6, 0.2, 0.2), (6, 8, 0.1, 0.8), (8, 9.9, 0.1, 0.3)),
    "b": ((0, 2, 0.1, 0.2), (2, 7, 0.3, 0.7), (7, 9.9, 0.1, 0.4)),
    "c": ((0, 1, 0.2, 0.1), (1, 4, 0.6, 0.2), (4, 5.9, 0.5, 0.1)),
}
EVENTS = (("a.wav", 0.1, 4.0, "Cat"), ("b.wav", 2.1, 7.0, "Dog"), ("c.wav", 0.0, 3.0, "Cat"))
LABELS = ("Tester_LAB_task4_1", "Tester_LAB_task4_2")
META = """\
submission:
  label: {label}
  name: a small system
  abbreviation: small
  authors:
    - {{firstname: Ada, lastname: Tester, corresponding: true}}
system:
  description:
    input_sampling_rate: 16000
    acoustic_features: log-mel energies
    ensemble_method_subsystem_count: !!null
  complexity:
    total_parameters: 1112420
    macs: 930.902 M
  source_code: !!null
  energy_training: 1.717 kWh
  energy_test: 0.030
  energy_baseline: 0.032
"""


def write_lines(path: Path, *rows: tuple[object, ...], separator: str = "\t") -> None:
    """Write rows of cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(str(cell) for cell in row) + "\n" for row in rows), encoding="utf-8")


def write_evaluation_set(folder: Path) -> tuple[Path, Path]:
    """The ground truth and the durations."""
    ground_truth, durations = folder / "ground_truth.tsv", folder / "durations.tsv"
    write_lines(ground_truth, ("filename", "onset", "offset", "event_label"), *GROUND_TRUTH)
    write_lines(durations, ("filename", "duration"), *DURATIONS.items())
    return ground_truth, durations


def write_scores(folder: Path, shift: float = 0.0) -> None:
    """One score table per clip, all scores higher by `shift`."""
    for audio_id, windows in SCORES.items():
        rows = [(onset, offset, cat + shift, dog + shift) for onset, offset, cat, dog in windows]
        write_lines(folder / f"{audio_id}.tsv", ("onset", "offset", "Cat", "Dog"), *rows)


def write_events(path: Path) -> None:
    """One list of events."""
    write_lines(path, ("filename", "onset", "offset", "event_label"), *EVENTS)


def write_points(folder: Path) -> None:
    """Three operating points, the same events in each."""
    for threshold in ("0.25", "0.50", "0.75"):
        write_events(folder / f"predictions_th_{threshold}.tsv")


def write_package(folder: Path) -> None:
    """Two systems of three runs, as the organisers' validator of 2024 wants them."""
    for label in LABELS:
        for run in (1, 2, 3):
            write_scores(folder / label / f"{label}_run{run}.output", shift=0.01 * run)
            write_scores(folder / label / f"{label}_run{run}_unprocessed.output")
        (folder / label / f"{label}.meta.yaml").write_text(META.format(label=label), encoding="utf-8")
    (folder / "report.pdf").write_bytes(b"%PDF-1.4")


def write_sound(folder: Path) -> dict[str, Path]:
    """All of the above: name -> what to submit."""
    write_scores(folder / "scores")
    write_points(folder / "points")
    write_events(folder / "events.tsv")
    write_package(folder / "package")
    return {name: folder / name for name in ("scores", "points", "events.tsv", "package")}
