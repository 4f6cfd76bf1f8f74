"""Extract the embeddings of a conf's recordings, which mode stored of its embedders then reads.

    python recipes/extract_embeddings.py --conf_file confs/sed/crnn_ast.yaml
    python recipes/extract_embeddings.py --conf_file CONF --pretrained_model ast --sets weak_train devtest
    python recipes/extract_embeddings.py --conf_file confs/sed/crnn.yaml --pretrained_model panns --weights FILE

Every set of the conf becomes <output_dir>/<embedder>/<set>.hdf5. What is there is left alone, what is half done, after
a kill too, is completed, and what another embedder made, or is of recordings that changed, is refused unless
--overwrite replaces it. Layouts: compact (float16, no more frames than the detector's), and those of the DESED
baselines of 2022 and 2023, for programs that read these.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from desed_task.command_line import RecipeParser, run_recipe, show, whole_number
from desed_task.embeddings.layouts import LAYOUTS
from desed_task.errors import OptionsError
from desed_task.runs.conf import read_conf
from desed_task.runs.extraction import extract
from desed_task.runs.extraction_embedders import Extraction, layout_embedders, size_in_words
from desed_task.runs.extraction_sets import choose_embedder, choose_sets
from desed_task.training.energy import EnergyReading, metered
from desed_task.training.fit import choose_device

DEFAULT_CONF = Path(__file__).resolve().parent.parent / "confs" / "sed" / "crnn.yaml"


def main(argv: Sequence[str]) -> None:
    """Extract every set; print what was written."""
    arguments = _parser().parse_args(argv)
    device = choose_device(_device_name(arguments))
    options = read_conf(arguments.conf_file, arguments.set)
    # The recordings first: weights may be fetched, which is in vain where there is nothing to hear.
    sets = choose_sets(options, arguments.eval_set, arguments.sets)
    name, embedder = choose_embedder(options, arguments.pretrained_model, arguments.weights)
    parts = layout_embedders(embedder, arguments.layout)
    extraction = Extraction(parts, options.features, arguments.layout, arguments.batch_size, device)
    folder = arguments.output_dir / name
    with ExitStack() as stack:

        @cache  # only where there is something to be done
        def meter() -> EnergyReading:
            codecarbon = folder / "extraction_codecarbon"
            return stack.enter_context(
                metered("SED EMBEDDINGS", codecarbon, "extraction_tot_kwh.txt", options.energy, go_on=True)
            )

        paths = extract(sets, extraction, folder, arguments.overwrite, meter)
    for path in paths:
        show(size_in_words(path, embedder))
    if options.embedders:
        show(f"train with --set embedders.{name}.mode=stored --set embedders.{name}.store={folder}")
    else:
        ways = {"frame": "aligned", "global": "global"}
        show(
            f"train with a conf that has\n  embedders: {{{name}: {{name: {name}, mode: stored, store: {folder}}}}}\n"
            f"  model: {{fusion: {{ways: {{{name}: {ways.get(embedder.options.output, 'pool1d')}}}}}}}"
        )


def _device_name(arguments: Namespace) -> str:
    """--device, or what the published --use_gpu says; OptionsError when they contradict."""
    use_gpu, device = arguments.use_gpu, str(arguments.device)
    if use_gpu is None:
        return device
    if device == "auto":
        return "cuda:0" if use_gpu else "cpu"
    if device.startswith("cuda") != bool(use_gpu):
        raise OptionsError(f"--use_gpu {use_gpu} contradicts --device {device}; leave one of them out")
    return device


def _parser() -> RecipeParser:
    parser = RecipeParser(description="Extract the embeddings of a conf's recordings.")
    add = parser.add_argument
    add("--conf_file", type=Path, default=DEFAULT_CONF, help="YAML conf of a detector")
    add("--set", action="append", default=[], metavar="a.b=VALUE", help="replace one key of the conf; repeatable")
    add("--output_dir", type=Path, default=Path("embeddings"), help="gets a folder per embedder")
    add("--pretrained_model", help="which embedder of the conf (the only one); panns or ast for a conf that has none")
    add("--weights", type=Path, help="weights of panns or ast, for a conf that has no embedders")
    add("--layout", choices=tuple(LAYOUTS), default="compact", help="of the files")
    add("--sets", nargs="+", default=[], metavar="NAME", help="these alone, by the names of their files (all)")
    add("--eval_set", action="store_true", help="extract data.eval too")
    add("--overwrite", action="store_true", help="replace what another embedder made, or is of other recordings")
    add("--batch_size", type=whole_number(1), default=8, help="clips that the network hears at a time")
    add("--device", default="auto", help="auto, cpu or cuda:N")
    add("--use_gpu", type=int, choices=(0, 1), help="the published way to say --device")
    return parser


if __name__ == "__main__":
    run_recipe(main)
