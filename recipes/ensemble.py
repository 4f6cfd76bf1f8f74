"""Average what several taggers say of the same clips, and score the average beside each of them.

    python recipes/ensemble.py --scores A.npz B.npz --ground_truth eval.csv --output_dir out
    python recipes/ensemble.py --bundle A B --checkpoint C --audio_dir D --ground_truth eval.csv --output_dir out

An ensemble is the mean of clip probabilities. Systems may list their classes in different orders, but all must know
the same classes, and all must have heard the same clips. --scores takes the scores.npz of trainings and of this recipe
(desed_task/formats/clip_scores.py) and the tags.tsv of evaluate.py. The ground truth is a table of filename and
event_labels, of filename, onset, offset and event_label, or any CSV or JSON with one row per clip
(desed_task/data/corpora/manifest.py), such as FSD50K's eval.csv; clips that it does not list are left out.

Written: scores.npz, what the ensemble says, and, with a ground truth, report.json and per_class.csv.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from desed_task.audio.containers import find_recordings
from desed_task.audio.reading import Waveform, read_waveform
from desed_task.clips import tags_of
from desed_task.command_line import RecipeParser, run_recipe, show
from desed_task.data.corpora.listed import read_table_text
from desed_task.data.corpora.manifest import ManifestOptions, read_manifest_tags
from desed_task.errors import CorpusError, EventTableError, OptionsError
from desed_task.events import audio_id_of
from desed_task.formats.clip_scores import ClipScores, clip_scores_of, read_clip_scores, write_clip_scores
from desed_task.formats.dcase import read_cells, read_strong
from desed_task.labels import LabelSet
from desed_task.listening import Listener, open_bundle, open_checkpoint
from desed_task.metrics.report_tables import format_tag_table
from desed_task.metrics.tag_report import TagReport, evaluate_tags
from desed_task.metrics.tag_report_files import write_tag_report

_LOG = logging.getLogger(__name__)

ENSEMBLE = "ensemble"
Truth = Mapping[str, Collection[str]]


@dataclass(frozen=True)
class _Member:
    """One system; `say` reads its scores, or makes it listen."""

    name: str
    say: Callable[[], ClipScores]


def main(argv: Sequence[str]) -> int:
    """Average, write, score."""
    arguments = _parser().parse_args(argv)
    output: Path = arguments.output_dir
    if output.exists() and not output.is_dir():
        raise OptionsError(f"--output_dir {output}: stands there and is no folder; name another")
    truth = None if arguments.ground_truth is None else _read_truth(arguments.ground_truth, arguments.classes)
    members = [_Member(str(path), partial(_read_scores, path)) for path in arguments.scores]
    members += _listeners(arguments.bundle, arguments.checkpoint, arguments.audio_dir, truth, arguments.device)
    if len(members) < 2:
        raise OptionsError(f"{len(members)} system given; name two or more (--scores, --bundle, --checkpoint)")
    reports: dict[str, TagReport] = {}
    ensemble = _average(members, truth, reports)
    output.mkdir(parents=True, exist_ok=True)
    write_clip_scores(ensemble, output / "scores.npz")
    if truth is not None:
        reports[ENSEMBLE] = _evaluate(ensemble, truth)
        write_tag_report(reports[ENSEMBLE], output)
        show(format_tag_table(reports))
    _LOG.info("ensemble of %d systems, %d clips: %s", len(members), len(ensemble.audio_ids), output)
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Average what several taggers say of the same clips.")
    add = parser.add_argument
    add("--scores", type=Path, nargs="+", default=[], metavar="FILE", help="scores.npz or tags.tsv, one per system")
    add("--bundle", type=Path, nargs="+", default=[], metavar="DIR", help="bundles that listen to --audio_dir")
    add("--checkpoint", type=Path, nargs="+", default=[], metavar="FILE", help="checkpoints that listen to --audio_dir")
    add("--audio_dir", type=Path, help="folder of the recordings")
    add("--ground_truth", type=Path, metavar="TABLE", help="what the clips hold; without it nothing is scored")
    add("--classes", type=Path, metavar="TABLE", help="class table that turns the ground truth's mids into names")
    add("--output_dir", type=Path, required=True, help="folder that receives scores and report")
    add("--device", default="auto", help="auto, cpu or cuda:N")
    return parser


def _average(members: Sequence[_Member], truth: Truth | None, reports: dict[str, TagReport]) -> ClipScores:
    """The mean of the members, which are held one at a time; with a ground truth, the report of each."""
    mean: NDArray[np.float64] | None = None
    first: ClipScores | None = None
    for member in members:
        said = member.say()
        first = first or _of_listed_clips(said, truth, member.name)
        unknown = [label for label in said.labels if label not in first.labels]
        if unknown:
            raise EventTableError(f"{member.name}: other classes than {members[0].name} ({unknown[0]!r})")
        try:
            said = said.with_labels(first.labels).select(first.audio_ids)
        except EventTableError as error:
            raise EventTableError(f"{member.name}: {error}; {members[0].name} has them") from None
        mean = said.probs / len(members) + (0.0 if mean is None else mean)
        if truth is not None:
            reports[member.name] = _evaluate(said, truth, num_samples=0)
    assert first is not None and mean is not None
    return ClipScores(first.audio_ids, np.clip(mean, 0.0, 1.0).astype(np.float32), first.labels)


def _of_listed_clips(said: ClipScores, truth: Truth | None, name: str) -> ClipScores:
    if truth is None:
        return said
    listed = [audio_id for audio_id in said.audio_ids if audio_id in truth]
    if not listed:
        raise CorpusError(f"{name}: scores none of the {len(truth)} clips of the ground truth; compare their names")
    return said.select(listed)


def _evaluate(said: ClipScores, truth: Truth, num_samples: int | None = None) -> TagReport:
    if num_samples is None:
        return evaluate_tags(said.by_audio_id(), truth, said.labels)
    return evaluate_tags(said.by_audio_id(), truth, said.labels, num_samples=num_samples)


def _read_scores(path: Path) -> ClipScores:
    return _read_tags(path) if path.suffix.lower() == ".tsv" else read_clip_scores(path)


def _read_tags(path: Path) -> ClipScores:
    """The tags.tsv of evaluate.py: a row per clip and class."""
    columns, rows = read_cells(path, ("filename", "event_label", "score"))
    place = [columns.index(name) for name in ("filename", "event_label", "score")]
    scores: dict[str, dict[str, float]] = {}
    for number, cells in rows:
        filename, label, score = (cells[position] for position in place)
        try:
            scores.setdefault(audio_id_of(filename), {})[label] = float(score)
        except ValueError:
            raise EventTableError(f"{path}, row {number}: score {score!r} is not a number") from None
    if not scores:
        raise EventTableError(f"{path}: scores no clip")
    labels = LabelSet(sorted(next(iter(scores.values()))))
    for audio_id, of_clip in scores.items():
        if sorted(of_clip) != list(labels):
            raise EventTableError(f"{path}: {audio_id} has other classes than the first clip; every clip needs all")
    values = {audio_id: np.array([one[label] for label in labels], np.float32) for audio_id, one in scores.items()}
    return clip_scores_of(values, labels)


def _listeners(
    bundles: Sequence[Path], checkpoints: Sequence[Path], audio_dir: Path | None, truth: Truth | None, device: str
) -> list[_Member]:
    if not bundles and not checkpoints:
        return []
    if audio_dir is None:
        raise OptionsError("--audio_dir: missing; bundles and checkpoints need recordings to hear")
    recordings = _recordings(audio_dir, truth)
    opened: list[tuple[Path, Callable[[], Listener]]] = [
        *((path, partial(open_bundle, path, device)) for path in bundles),
        *((path, partial(open_checkpoint, path, device=device)) for path in checkpoints),
    ]
    return [_Member(str(path), partial(_listen, opens, recordings)) for path, opens in opened]


def _listen(opens: Callable[[], Listener], recordings: Mapping[str, Path]) -> ClipScores:
    listener = opens()

    def waveforms() -> Iterator[tuple[str, Waveform]]:
        for audio_id, path in tqdm(recordings.items(), desc=listener.name, unit="clip", disable=None):
            yield audio_id, read_waveform(path, listener.sample_rate)

    return clip_scores_of(listener.clip_probs(waveforms()), listener.postprocessing.labels)


def _recordings(audio_dir: Path, truth: Truth | None) -> dict[str, Path]:
    """audio_id -> path of the recordings in the folder that the ground truth lists."""
    if not audio_dir.is_dir():
        raise CorpusError(f"--audio_dir {audio_dir}: no such folder")
    found: dict[str, Path] = {}
    for path in find_recordings(audio_dir):
        audio_id = audio_id_of(path.name)
        if truth is not None and audio_id not in truth:
            continue
        if audio_id in found:
            raise CorpusError(f"{found[audio_id]} and {path} are both called {audio_id}; rename one")
        found[audio_id] = path
    if not found:
        raise CorpusError(f"{audio_dir}: holds none of the recordings of the ground truth; name their folder")
    return found


def _read_truth(path: Path, classes: Path | None) -> Truth:
    header = read_table_text(path).partition("\n")[0].replace(",", "\t").split("\t")
    if "onset" in header:
        return tags_of(read_strong(path).by_audio_id())
    return read_manifest_tags(ManifestOptions(name="manifest", table=path, classes=classes))


if __name__ == "__main__":
    run_recipe(main)
