"""The whole system in one go, on data it makes itself: what `make demo` runs.

Chains the public commands, each a process of its own: soundscapes are generated, an untrained and a trained model are
scored, the trained one is exported, the service is started on a free port, and test clips are posted to it. Exits 1
unless training helped (PSDS 1 higher by .1) and at least one served event matches the reference within the collar
(onset 0.2 s, offset 0.2 s or 20 % of the event).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from desed_task.command_line import RecipeParser, run_recipe
from desed_task.errors import DesedTaskError
from desed_task.events import Event
from desed_task.formats.dcase import read_strong
from desed_task.metrics.scenarios import COLLAR_SECONDS, OFFSET_COLLAR_FRACTION

PROJECT = Path(__file__).resolve().parent.parent
REQUIRED_GAIN = 0.1
POSTED_CLIPS = 3
START_SECONDS = 60.0


def main(argv: Sequence[str]) -> int:
    """Run the demonstration; 0 when the system works."""
    parser = RecipeParser(description="Generate, train, score, export, serve and post: the whole system.")
    parser.add_argument("--output_dir", type=Path, default=Path("demo"), help="everything is written here")
    parser.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="replace a key of the training conf"
    )
    arguments = parser.parse_args(argv)
    folder = arguments.output_dir.resolve()
    started = time.monotonic()
    soundscapes = folder / "soundscapes"
    _step("soundscapes", "generate_soundscapes", "--conf_file", _conf("soundscapes"), "--output_dir", soundscapes)
    conf = ["--conf_file", _conf("sed"), *_data_overrides(folder), *[f"--set={override}" for override in arguments.set]]
    untrained = ["--set=training.n_epochs=0", "--log_dir", folder / "untrained"]
    _step("an untrained model, for comparison", "train_sed", *conf, *untrained)
    _step("training", "train_sed", *conf, "--log_dir", folder / "trained")
    run = _newest_run(folder / "trained")
    _step("export", "export_onnx", "--checkpoint", run, "--output", folder / "bundle")
    matches = _post_clips(folder / "bundle", soundscapes / "test")
    gain = _print_scores(_report(_newest_run(folder / "untrained")), _report(run))
    print(f"\n{matches} served events match the reference; {time.monotonic() - started:.0f} s in all.")
    if gain < REQUIRED_GAIN or matches == 0:
        print(f"the demonstration failed: PSDS1 gained {gain:.3f} (needs {REQUIRED_GAIN}), {matches} matches (needs 1)")
        return 1
    return 0


def _conf(kind: str) -> Path:
    return PROJECT / "confs" / kind / "demo.yaml"


def _data_overrides(folder: Path) -> list[str]:
    """The conf's data are under `demo/` of the current folder; the same under any other."""
    sources = [f"data.train.{number}" for number in range(3)] + ["data.validation.0", "data.test"]
    return [
        f"--set=data.store={folder / 'store'}",
        *[f"--set={key}.corpus.root={folder / 'soundscapes'}" for key in sources],
    ]


def _step(title: str, recipe: str, *arguments: object) -> None:
    print(f"\n=== {title}: recipes/{recipe}.py", flush=True)
    command = [sys.executable, str(PROJECT / "recipes" / f"{recipe}.py"), *map(str, arguments)]
    code = subprocess.run(command, check=False).returncode
    if code:
        raise DesedTaskError(f"recipes/{recipe}.py ended with exit code {code}; its message stands above")


def _newest_run(log_dir: Path) -> Path:
    return max(log_dir.glob("version_*"), key=lambda path: int(path.name.removeprefix("version_")))


def _report(run: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((run / "metrics_test" / "student" / "report.json").read_text(encoding="utf-8"))
    return report


def _print_scores(untrained: dict[str, Any], trained: dict[str, Any]) -> float:
    """Both reports side by side; by how much PSDS 1 grew."""
    print(f"\n{'test set':<24}{'untrained':>12}{'trained':>12}")
    for figure in ("psds1", "psds2", "collar_f1_macro", "intersection_f1_macro", "segment_f1_macro"):
        print(f"{figure:<24}{untrained[figure] or 0.0:>12.3f}{trained[figure] or 0.0:>12.3f}")
    print(f"{'energy, kWh':<24}{'':>12}{trained['energy_kwh_training'] or 0.0:>12.6f}")
    return float((trained["psds1"] or 0.0) - (untrained["psds1"] or 0.0))


def _post_clips(bundle: Path, part: Path) -> int:
    """Serve the bundle, post clips, print events beside the reference; how many match."""
    reference = read_strong(part / "soundscapes.tsv")
    names = [name for name, events in reference.items() if events][:POSTED_CLIPS]
    matches = 0
    with _service(bundle) as address:
        for name in names:
            body = (part / "audio" / name).read_bytes()
            request = urllib.request.Request(f"{address}/v1/events", data=body, method="POST")
            with urllib.request.urlopen(request, timeout=60) as response:
                answer = json.load(response)
            detected = [Event(item["onset"], item["offset"], item["label"], item["score"]) for item in answer["events"]]
            matches += _print_events(name, reference.of(name), detected)
    return matches


def _print_events(name: str, reference: Sequence[Event], detected: Sequence[Event]) -> int:
    print(f"\nPOST /v1/events < {name}\n  {'served event':<52}| reference")
    hits = [next((event for event in reference if _within_collar(event, found)), None) for found in detected]
    for found, hit in zip(detected, hits, strict=True):
        match = f"= {_times(hit)}" if hit else ""
        print(f"  {_times(found) + f'  {found.score:.2f}':<52}| {match}")
    for event in reference:
        if event not in hits:
            print(f"  {'':<52}|   {_times(event)}")
    return sum(hit is not None for hit in hits)


def _times(event: Event) -> str:
    return f"{event.onset:6.2f} - {event.offset:5.2f} s  {event.event_label}"


def _within_collar(reference: Event, detected: Event) -> bool:
    offset_collar = max(COLLAR_SECONDS, OFFSET_COLLAR_FRACTION * reference.duration)
    return (
        reference.event_label == detected.event_label
        and abs(reference.onset - detected.onset) <= COLLAR_SECONDS
        and abs(reference.offset - detected.offset) <= offset_collar
    )


@contextmanager
def _service(bundle: Path) -> Iterator[str]:
    """The service in a process of its own on a free port; its address while it runs."""
    port_file = bundle.parent / "port"
    port_file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "serving", "--bundle", str(bundle), "--port", "0", "--port-file", str(port_file)]
    print(f"\n=== service: python -m serving --bundle {bundle.name} --port 0", flush=True)
    process = subprocess.Popen(command, cwd=PROJECT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not port_file.is_file():
            if process.poll() is not None or time.monotonic() > deadline:
                raise DesedTaskError("the service did not start; its message stands above")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{int(port_file.read_text(encoding='utf-8'))}"
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    run_recipe(main)
