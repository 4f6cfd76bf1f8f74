"""Measure mean and standard deviation of a conf's logarithmic features over its training set, for its `features`.

    python recipes/norm_stats.py --conf_file confs/tagging/psla_fsd50k.yaml
    python recipes/norm_stats.py --conf_file CONF --without_augmentations --batches 100

Clips are heard as in the training, mixup, noise and masks included, since what is normalised is what is heard; the
published figures were measured so, too. --without_augmentations leaves out all of that. Each clip is drawn once, as
published; --as_sampled draws as the training does. The last clips that fill no batch are left out.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor
from tqdm import tqdm

from desed_task.batch import Batch
from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.data.tagging_options import ShuffledOptions, TaggingSource
from desed_task.labels import LabelSet
from desed_task.options import read_options
from desed_task.system import build_augmentations, build_frontend, build_grid
from desed_task.tagging import TaggingOptions, build_tagging_dataset, read_training_sets
from desed_task.training.feature_statistics import Moments, log_features, measure
from desed_task.training.fit import choose_device


def main(argv: Sequence[str]) -> int:
    """Hear an epoch, print the two numbers."""
    arguments = _parser().parse_args(argv)
    options = read_options(arguments.conf_file, TaggingOptions, arguments.set)
    if not arguments.as_sampled:
        options = _with_sources(options, [_drawing_each_once(source) for source in options.data.train])
    if arguments.without_augmentations:
        options = _with_sources(options, [_unaltered(source) for source in options.data.train])
        options = options.model_copy(update={"augmentations": ()})
    moments = measure(feature_batches(options, arguments))
    show(_in_words(moments, options))
    return 0


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Mean and standard deviation of a conf's logarithmic features.")
    add = parser.add_argument
    add("--conf_file", type=Path, required=True, help="YAML conf of a tagger")
    add("--set", action="append", default=[], metavar="a.b=VALUE", help="replace one key of the conf; repeatable")
    add("--without_augmentations", action="store_true", help="hear the clips as they are")
    add("--as_sampled", action="store_true", help="draw clips as the training does, the same one perhaps repeatedly")
    add("--batches", type=whole_number(1), help="hear so many batches only (default: the whole epoch)")
    add("--device", default="auto", help="auto, cpu or cuda:N")
    return parser


def feature_batches(options: TaggingOptions, arguments: Namespace) -> Iterator[Tensor]:
    """Logarithmic features (batch, mel_frames, mel_bands) of the first epoch's batches."""
    device = choose_device(arguments.device)
    labels = LabelSet(options.labels)
    dataset = build_tagging_dataset(options, read_training_sets(options, labels), labels, build_grid(options), device)
    count = min(len(dataset), arguments.batches or len(dataset))
    steps: Iterable[int] = tqdm(range(count), unit="batch", desc="features", disable=None)
    batches: Iterator[Batch] = (dataset[0, step] for step in steps)
    frontend = build_frontend(options).to(device)
    yield from log_features(batches, frontend, build_augmentations(options), options.training.seed)


def _with_sources(options: TaggingOptions, sources: Sequence[TaggingSource]) -> TaggingOptions:
    return options.model_copy(update={"data": options.data.model_copy(update={"train": tuple(sources)})})


def _drawing_each_once(source: TaggingSource) -> TaggingSource:
    """Weights are gone with the sampling, so partners of a mixup are any clip."""
    mixup = source.waveform_mixup
    uniform = None if mixup is None else mixup.model_copy(update={"partner": "uniform"})
    return source.model_copy(update={"sampling": ShuffledOptions(), "waveform_mixup": uniform})


def _unaltered(source: TaggingSource) -> TaggingSource:
    return source.model_copy(update={"gain_db": None, "waveform_mixup": None, "background": None})


def _in_words(moments: Moments, options: TaggingOptions) -> str:
    features = options.features.model_dump()
    lines = [f"{moments.count} values, mean {moments.mean:.7g}, standard deviation {moments.std:.7g}"]
    if not {"mean", "std"} <= features.keys():
        return f"{lines[0]}\nfeatures {features['name']} are normalised without them: nothing is to be set"
    lines += [f"in place of {features['mean']:.7g} and {features['std']:.7g} in the conf:", "features:"]
    lines += [f"  name: {features['name']}", f"  mean: {moments.mean:.7g}", f"  std: {moments.std:.7g}"]
    return "\n".join(lines)


if __name__ == "__main__":
    run_recipe(main)
