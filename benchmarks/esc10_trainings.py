"""The trainings behind the ESC-10 tagging tables: which there are, and making those that are missing.

Every one is an ordinary run of confs/tagging/esc10.yaml with some keys replaced, in a folder of its own; a finished one
is not repeated, one that was broken off goes on. No training sees its test folds, and none selects an epoch by them:
all clips of the training folds are trained on for a fixed number of epochs.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

CONF = Path(__file__).resolve().parent.parent / "confs" / "tagging" / "esc10.yaml"
TEST_FOLD, TRAINING_FOLDS, FOLDS = 4, (1, 2, 3), (1, 2, 3, 4)
SEEDS = (42, 43, 44)
# Each family at a size that two CPU cores train in minutes.
FAMILIES: Mapping[str, str] = {
    "VGG-like": "{name: vgglike, width: 16}",
    "CRNN (FSD50K)": "{name: fsd50k_crnn, nb_filters: [32, 32, 32], pooling: [[2, 4], [2, 3], [1, 2]], n_rnn_cell: 32}",
    "ResNet-18": "{name: resnet, depth: 18, width: 32}",
    "DenseNet": "{name: densenet, blocks: [3, 6, 6, 3], growth_rate: 16, width: 32}",
    "EfficientNet-B0, 4 heads (PSLA)": "{name: efficientnet, eff_b: 0, width: 0.4, depth: 0.5, "
    "batch_norm_momentum: 0.1, drop_connect: 0}",
    "MobileNetV3 (EfficientAT)": "{name: mobilenet, width: 0.4, batch_norm_momentum: 0.1}",
    "Cnn6 (PANNs)": "{name: cnn14, architecture: cnn6, width: 0.25}",
    "AST": "{name: ast, model_size: tiny224, depth: 4, fstride: 16, tstride: 16}",
    "TALtrans": "{name: taltrans, embedding_size: 256}",
    "Transformer": "{name: transformer, dim: 96, depth: 3}",
}
# What each variant of the recipe lacks; averaging and ensemble are read off the runs of the recipe itself.
_ROLL = "{name: time_roll, max_frames: 50}"
_MIXUP = "{name: mixup, domain: normalised, per: clip, probability: 0.5, alpha: 1.0}"
_MASKS = "{name: spec_augment, domain: normalised, probability: 0.5, max_bands: 8, max_frames: 12, fill: minimum}"
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "recipe": (),
    "without mixup": (f"augmentations=[{_ROLL}, {_MASKS}]",),
    "without SpecAugment": (f"augmentations=[{_ROLL}, {_MIXUP}]",),
    "with balanced sampling": ("data.train.0.sampling={name: weighted}",),
}


@dataclass(frozen=True)
class Training:
    """One run: of which study and system, tested on which fold, from which seed, and its keys."""

    study: str
    system: str
    test_fold: int
    seed: int
    overrides: tuple[str, ...]

    def folder(self, root: Path) -> Path:
        """Its log folder."""
        words = "".join(letter if letter.isalnum() else "_" for letter in self.system.lower())
        return root / self.study / words / f"fold{self.test_fold}_seed{self.seed}"

    def run(self, root: Path) -> Path | None:
        """Its finished run folder, if there is one."""
        finished = sorted(self.folder(root).glob("version_*/results.csv"))
        return finished[-1].parent if finished else None


def family_trainings(families: Mapping[str, str]) -> Iterator[Training]:
    """Every family on folds 1 to 3, tested on fold 4, from several seeds."""
    for family, model in families.items():
        for seed in SEEDS:
            yield _training("families", family, TRAINING_FOLDS, TEST_FOLD, seed, (f"model={model}",))


def choice_trainings(families: Mapping[str, str]) -> Iterator[Training]:
    """Every family, cross-validated within folds 1 to 3."""
    for family, model in families.items():
        for held_out in TRAINING_FOLDS:
            rest = tuple(fold for fold in TRAINING_FOLDS if fold != held_out)
            yield _training("choice", family, rest, held_out, SEEDS[0], (f"model={model}",))


def ablation_trainings() -> Iterator[Training]:
    """Every variant of the recipe, cross-validated over all four folds."""
    for variant, overrides in VARIANTS.items():
        for held_out in FOLDS:
            rest = tuple(fold for fold in FOLDS if fold != held_out)
            yield _training("ablation", variant, rest, held_out, SEEDS[0], overrides)


def _training(
    study: str, system: str, folds: tuple[int, ...], test_fold: int, seed: int, overrides: tuple[str, ...]
) -> Training:
    keys = (
        f"data.train.0.corpus.folds={list(folds)}",
        "data.validation=null",
        f"data.evaluation.fold4.folds=[{test_fold}]",
        f"training.seed={seed}",
        "training.num_threads=1",
    )
    return Training(study, system, test_fold, seed, (*keys, *overrides))


def train_missing(
    trainings: Sequence[Training], root: Path, esc10: Path, store: Path, processes: int, overrides: Sequence[str] = ()
) -> None:
    """Make the runs that are not there yet, `processes` at a time, all with `overrides`."""
    missing = [training for training in trainings if training.run(root) is None]
    places = (
        f"data.store={store}",
        f"data.train.0.corpus.root={esc10}",
        f"data.evaluation.fold4.root={esc10}",
    )
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(_train, training, root, (*places, *training.overrides, *overrides)) for training in missing]
        for job in tqdm(jobs, unit="training", disable=None):
            job.result()


def _train(training: Training, root: Path, keys: tuple[str, ...]) -> None:
    # Imported here: the process that only prints tables needs none of it.
    from desed_task.runs.tagging_command import run_tagging

    folder = training.folder(root)
    begun = sorted(path.parent for path in folder.glob("version_*/last.ckpt"))
    if begun:
        run_tagging(["--resume_from", str(begun[-1]), "--expdir", str(folder), "--device", "cpu"], folder)
        return
    sets = [word for key in keys for word in ("--set", key)]
    run_tagging(["--conf_file", str(CONF), "--expdir", str(folder), "--device", "cpu", *sets], folder)
