"""The published taggers' confs: what was published of each, in one table, beside what its conf resolves to.

The numbers were typed from the published scripts and papers (docs/fsd50k.md, psla.md, audioset.md and gise51.md name
them), not from the confs. Parameters are counted with 200 classes of FSD50K, 527 of AudioSet, 50 of ESC-50, 51 of
GISE-51.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from desed_task.data.tagging_options import TaggingSource
from desed_task.errors import DesedTaskError
from desed_task.options import read_options, write_options
from desed_task.system import build_model, input_shape
from desed_task.tagging import TaggingOptions, build_tagger

CONFS = Path(__file__).resolve().parent.parent / "confs" / "tagging"
# Beginnings of the names of ours, which are of no publication.
OWN = ("demo", "esc10")

# What the published systems share. mel_frames and mel_bands of a clip; learning rate; masks (bands, mel frames).
CHUNKS = {
    "features": "fsd50k_mel",
    "heard": (22050, 220, 101, 96),
    "clip_seconds": 1.0,
    "view": (0.5, "tile", "tile", "mean_logit"),
    "chunks": (0.5, "tile"),
    "batch": 256,
    "sampling": ("shuffled",),
    "waveform_mixup": None,
    "rate": 1e-3,
    "epochs": 100,
    "early_stop": 10,
    "schedule": ("plateau", 0.1, 5),
    "warmup": None,
    "optimizer": ("adam", (0.9, 0.999), 0.0, False),
    "loss": "bce",
    "selected_by": "map",
    "masks": ("normalised", 0.5, (1, 2), "shares", 0.15, 0.2, "minimum"),
    "noise": (0.75, 0.5, True),
    "feature_mixup": None,
    "averaged": None,
    "together": None,
    "corpora": ["fsd50k train", "fsd50k val", "fsd50k eval"],
}
# PSLA, AST, AudioTagging Done Right.
MIXED = {
    "features": "kaldi",
    "clip_seconds": 10.0,
    "view": (None, "shift", "zeros", "mean_logit"),
    "chunks": None,
    "sampling": ("weighted", 0.01, True, None),
    "waveform_mixup": (0.5, 10.0, "uniform", False),
    "early_stop": 200,
    "warmup": ("steps", 1000, 50),
    "optimizer": ("adam", (0.95, 0.999), 5e-7, False),
    "loss": "bce",
    "selected_by": "map",
    "masks": ("log", 1.0, (1, 1), "bins", 48, 192, "zero"),
    "noise": None,
    "feature_mixup": None,
    "together": (1, None),
    "padding": "zero",
    "corpora": ["balanced_train_segments.csv + unbalanced_train_segments.csv", "eval_segments.csv"],
}
PSLA = MIXED | {
    "heard": (16000, 160, 1056, 128),
    "normalised": (-4.6476, 4.5699, 1.0),
    "parameters": 13_640_766,
    "batch": 100,
    "rate": 1e-4,
    "epochs": 30,
    "schedule": ("periodic", 10, 5, 0.5),
    "averaged": (16, 30),
    "begins": "imagenet",
}
ENHANCED = {"corpora": ["balanced_train_type1_2_mean.json", "eval_segments.csv"]}
AST = MIXED | {
    "heard": (16000, 160, 1024, 128),
    "normalised": (-4.2677393, 4.5689974, 2.0),
    "parameters": 86_594_063,
    "batch": 12,
    "rate": 1e-5,
    "epochs": 5,
    "schedule": ("periodic", 2, 1, 0.5),
    "averaged": (1, 5),
    "begins": "imagenet",
    "strides": (10, 10),
}
DONE_RIGHT = MIXED | {
    "epochs": 10,
    "schedule": ("periodic", 2, 1, 0.5),
    "averaged": (1, 5),
    "waveform_mixup": (0.3, 10.0, "uniform", False),
    "begins": None,
}
BANDS_64 = {"features": "tal", "heard": (16000, 400, 400, 64), "masks": ("log", 1.0, (1, 1), "bins", 12, 60, "zero")}
BANDS_128 = {
    "heard": (16000, 160, 1024, 128),
    "normalised": (-3.6788461, 4.3739743, 2.0),
    "masks": ("log", 1.0, (1, 1), "bins", 36, 192, "zero"),
}
TALTRANS = {"trunk": (10, 5, (3, 3), "att"), "encoder": (2, True, 0.75)}
EFFICIENTAT = {
    "features": "efficientat",
    "heard": (32000, 320, 1000, 128),
    "clip_seconds": 10.0,
    "sampling": ("weighted", 100.0, False, 100_000),
    "waveform_mixup": None,
    "teacher": 0.1,
    "epochs": 200,
    "schedule": ("linear", 80, 95, 0.01),
    "warmup": ("exponential", 8),
    "optimizer": ("adam", (0.9, 0.999), 0.0, False),
    "loss": "bce",
    "masks": None,
    "feature_mixup": ("normalised", 1.0, 0.3, "clip", True),
    "averaged": None,
    "corpora": ["balanced_train_segments.csv + unbalanced_train_segments.csv", "eval_segments.csv"],
}

# GISE-51: excerpts of 500 frames, every clip mixed. Each of four GPUs had its own batch, which here is one together.
GISE = {
    "features": "fsd50k_spectrogram",
    "heard": (22050, 220, 500, 221),
    "view": (None, "shift", "tile", "mean_logit"),
    "chunks": None,
    "excerpts": ("random", "tile"),
    "batch": 64,
    "sampling": ("shuffled",),
    "waveform_mixup": None,
    "rate": 1e-3,
    "epochs": 50,
    "early_stop": 10,
    "schedule": ("plateau", 0.1, 5),
    "warmup": None,
    "optimizer": ("adam", (0.9, 0.999), 0.0, False),
    "loss": "bce",
    "selected_by": "map",
    "masks": ("normalised", 0.5, (1, 2), "shares", 0.15, 0.2, "minimum"),
    "noise": None,
    "feature_mixup": ("normalised", 1.0, 1.0, "clip", False),
    "averaged": None,
    "together": None,
    "begins": None,
    "corpora": ["lmdb train", "lmdb val", "lmdb eval"],
}
FOUR_GPUS, ONE_GPU = {"batch": 4 * 64}, {"epochs": 100}
LINEAR_B1 = {"model": "efficientnet", "head": ("linear", 1, 221)}
TO_AUDIOSET = {
    "heard": (22050, 220, 1000, 221),
    "loss": "focal",
    "corpora": ["balanced_train_segments.csv", "eval_segments.csv"],
    "first_classes": ("A capella", "Accelerating, revving, vroom", "Accordion"),
}
TO_VGGSOUND = {
    "epochs": 100,
    "loss": "cross_entropy",
    "selected_by": "accuracy",
    "feature_mixup": None,
    "corpora": ["vggsound train", "vggsound test"],
    "first_classes": ("air conditioning noise", "air horn", "airplane"),
}
TO_ESC50 = {
    "heard": (22050, 220, 300, 221),
    "loss": "cross_entropy",
    "selected_by": "accuracy",
    "optimizer": ("adam", (0.9, 0.999), 1e-4, False),
    # The fold that is tested selects nothing.
    "corpora": ["esc50 3 4 5", "esc50 2", "esc50 1"],
    "first_classes": ("dog", "rooster", "pig"),
}

PUBLISHED: dict[str, dict[str, Any]] = {
    "fsd50k_vgglike": CHUNKS | {"model": "vgglike", "parameters": 348_040},
    "fsd50k_crnn": CHUNKS | {"model": "fsd50k_crnn", "parameters": 948_680},
    "fsd50k_resnet18": CHUNKS | {"model": "resnet", "parameters": 11_272_840, "begins": None},
    "fsd50k_densenet121": CHUNKS | {"model": "densenet", "parameters": 7_152_584, "begins": None},
    "fsd50k_vgglike_spectrogram": CHUNKS
    | {"model": "vgglike", "parameters": 348_040, "features": "fsd50k_spectrogram", "heard": (22050, 220, 101, 221)},
    "fsd50k_resnet18_spectrogram": CHUNKS
    | {"model": "resnet", "parameters": 11_272_840, "features": "fsd50k_spectrogram", "heard": (22050, 220, 101, 221)}
    | {"batch": 1024},
    "psla_audioset": PSLA | {"model": "efficientnet", "heads": 4},
    "psla_audioset_balanced": PSLA
    | ENHANCED
    | {"model": "efficientnet", "sampling": ("shuffled",), "rate": 1e-3, "epochs": 60}
    | {"schedule": ("periodic", 35, 5, 0.5), "averaged": (41, 60)},
    "psla_fsd50k": PSLA
    | {"model": "efficientnet", "parameters": 9_954_822, "heard": (16000, 160, 3000, 128), "clip_seconds": 30.0}
    | {"batch": 24, "rate": 5e-4, "epochs": 40, "averaged": (21, 40)}
    | {"corpora": ["fsd50k train dev_type1_2_mean.csv", "fsd50k val", "fsd50k eval"]},
    "psla_audioset_b0": PSLA | {"parameters": 5_357_146, "heads": 1},
    "psla_audioset_mean": PSLA | {"parameters": 8_442_961, "heads": 0},
    "psla_audioset_single_head": PSLA | {"parameters": 9_185_504, "heads": 1},
    "psla_audioset_resnet50": PSLA | {"model": "resnet_attention", "parameters": 25_661_406, "heads": 1},
    "audioset_ast": AST | {"model": "ast"},
    "audioset_balanced_ast": AST
    | ENHANCED
    | {"model": "ast", "sampling": ("shuffled",), "rate": 5e-5, "epochs": 25}
    | {"schedule": ("periodic", 10, 5, 0.5), "averaged": (6, 25)},
    "esc50_ast": AST
    | {"model": "ast", "heard": (16000, 160, 512, 128), "normalised": (-6.6268077, 5.358466, 2.0), "begins": "audioset"}
    | {"clip_seconds": 5.0, "batch": 48, "epochs": 25, "schedule": ("periodic", 5, 1, 0.85), "warmup": None}
    | {"sampling": ("shuffled",), "waveform_mixup": None, "masks": ("log", 1.0, (1, 1), "bins", 24, 96, "zero")}
    | {"loss": "cross_entropy", "selected_by": "accuracy", "averaged": None}
    # 50 classes, and 12 x 50 places in place of 12 x 101.
    | {"parameters": 86_594_063 - 477 * 769 - 612 * 768, "corpora": ["esc50 2 3 4 5", "esc50 1"]},
    "audioset_taltrans": DONE_RIGHT
    | BANDS_64
    | TALTRANS
    | {"model": "taltrans", "parameters": 12_097_662, "normalised": (-29.686901, 40.898224, 2.0)}
    | {"batch": 448, "rate": 4e-4, "embedding": 1024},
    "audioset_taltrans_128": DONE_RIGHT
    | BANDS_128
    | TALTRANS
    | {"model": "taltrans", "batch": 400, "rate": 4e-4, "embedding": 2048, "encoder": (2, True, 0.25)},
    "audioset_tal": DONE_RIGHT
    | BANDS_128
    | {"model": "tal", "parameters": 25_761_918, "batch": 100, "rate": 4e-4, "embedding": 2048}
    | {"trunk": (10, 5, (3, 3), "att")},
    "audioset_psla": DONE_RIGHT
    | {"model": "efficientnet", "parameters": 13_640_766, "heads": 4, "heard": (16000, 160, 1024, 128)}
    | {"normalised": (-3.3458831, 4.1563106, 2.0), "batch": 64, "rate": 6e-5}
    | {"waveform_mixup": (0.5, 10.0, "uniform", False)},
    "audioset_resnet": DONE_RIGHT
    | BANDS_64
    | {"model": "resnet_attention", "heads": 1, "normalised": (-29.072655, 40.71728, 2.0)}
    | {"batch": 512, "rate": 4.8e-4, "masks": ("log", 1.0, (1, 1), "bins", 12, 75, "zero")},
    "audioset_linear": DONE_RIGHT
    | BANDS_64
    | {"model": "linear", "normalised": (-27.248297, 37.681698, 2.0), "batch": 72, "rate": 2e-5}
    | {"masks": ("log", 1.0, (1, 1), "bins", 12, 75, "zero")},
    "audioset_ast_64": DONE_RIGHT
    | BANDS_64
    | {"model": "ast", "strides": (4, 4), "normalised": (-29.686901, 40.898224, 2.0), "begins": "imagenet"}
    | {"batch": 24, "rate": 1e-5},
    "audioset_mn10": EFFICIENTAT | {"model": "mobilenet", "parameters": 4_876_831, "batch": 60, "rate": 4e-4},
    "audioset_mn04": EFFICIENTAT | {"model": "mobilenet", "parameters": 983_599, "batch": 120, "rate": 8e-4},
    "gise51_resnet18": GISE | FOUR_GPUS | {"model": "resnet", "parameters": 11_196_403},
    "gise51_resnet34": GISE | FOUR_GPUS | {"model": "resnet", "parameters": 21_304_563},
    "gise51_resnet44": GISE | FOUR_GPUS | {"model": "cifar_resnet", "parameters": 2_631_827},
    "gise51_resnet56": GISE | FOUR_GPUS | {"model": "cifar_resnet", "parameters": 3_407_763},
    "gise51_resnet20": GISE | {"model": "cifar_resnet", "parameters": 1_079_955, "batch": 128},
    "gise51_resnet50": GISE | ONE_GPU | {"model": "resnet", "parameters": 23_606_259},
    "gise51_densenet121": GISE | ONE_GPU | {"model": "densenet", "parameters": 6_999_859},
    "gise51_efficientnet_b0": GISE
    | ONE_GPU
    | {"model": "efficientnet", "parameters": 4_072_303, "batch": 128, "head": ("linear", 0, 221)},
    "gise51_efficientnet_b1": GISE | ONE_GPU | LINEAR_B1 | {"parameters": 6_577_939},
    "gise51_audioset_resnet18": GISE | TO_AUDIOSET | {"model": "resnet", "batch": 4 * 32},
    "gise51_audioset_efficientnet_b1": GISE | TO_AUDIOSET | LINEAR_B1 | ONE_GPU | {"batch": 32},
    "gise51_vggsound_resnet18": GISE | TO_VGGSOUND | {"model": "resnet"},
    "gise51_vggsound_efficientnet_b1": GISE | TO_VGGSOUND | LINEAR_B1,
    "gise51_esc50_resnet18": GISE | TO_ESC50 | {"model": "resnet"},
    "gise51_esc50_efficientnet_b1": GISE | TO_ESC50 | LINEAR_B1,
    "audioset_cnn14": {
        **{"features": "panns", "heard": (32000, 320, 1001, 64), "clip_seconds": 10.0},
        **{"model": "cnn14", "parameters": 80_753_615, "batch": 32, "rate": 1e-3},
        # 300 epochs of 2000 steps of 32 clips: the 600,000 steps after which the published model was best.
        **{"sampling": ("class_round_robin", 64_000), "epochs": 300, "schedule": ("constant",), "warmup": None},
        **{"optimizer": ("adam", (0.9, 0.999), 0.0, True), "loss": "bce", "waveform_mixup": None},
        **{"masks": ("log", 1.0, (2, 2), "bins", 8, 64, "mean"), "feature_mixup": ("log", 1.0, 1.0, "clip", False)},
        **{"corpora": ["balanced_train_segments.csv + unbalanced_train_segments.csv", "eval_segments.csv"]},
    },
}
every_conf = pytest.mark.parametrize("name", sorted(PUBLISHED))


@cache
def read(name: str) -> TaggingOptions:
    return read_options(CONFS / f"{name}.yaml", TaggingOptions)


@cache
def num_parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_model(read(name)).parameters())


def values_of(options: Any, *keys: str) -> tuple[Any, ...] | None:
    """Some of an options object's values, behind its name where it has one."""
    if options is None:
        return None
    named = (options.name,) if hasattr(options, "name") else ()
    return (*named, *(getattr(options, key) for key in keys))


# What a variant is told apart by, after its name.
KEYS = {
    "shuffled": (),
    "weighted": ("offset", "replacement", "epoch_clips"),
    "class_round_robin": ("epoch_clips",),
    "constant": (),
    "plateau": ("factor", "patience"),
    "periodic": ("after_epochs", "every_epochs", "factor"),
    "linear": ("after_epochs", "over_epochs", "last"),
    "steps": ("num_steps", "hold_steps"),
    "exponential": ("num_epochs",),
}


def variant(options: Any) -> tuple[Any, ...] | None:
    return None if options is None else values_of(options, *KEYS[options.name])


def what_is_heard(source: TaggingSource, options: TaggingOptions) -> list[str]:
    """The sets, by what tells them apart."""
    sets = [(source.corpus, *source.more), (options.data.validation,)]
    sets += [(corpus,) for corpus in options.data.evaluation.values()]
    return [" + ".join(place_of(corpus) for corpus in corpora) for corpora in sets]


def place_of(corpus: Any) -> str:
    table = corpus.table.name if getattr(corpus, "table", None) else ""
    if corpus.name == "audioset":
        return str(table)
    if corpus.name == "lmdb":
        return f"lmdb {corpus.path.stem}"
    parts = [corpus.part] if corpus.name in ("fsd50k", "vggsound") else [str(fold) for fold in corpus.folds]
    if corpus.name == "vggsound":
        return " ".join([corpus.name, *parts])
    return " ".join([corpus.name, *parts, *([table] if table else [])])


def resolved(name: str) -> dict[str, Any]:
    """The conf, in the terms of the table."""
    options = read(name)
    source, training, model, data = options.data.train[0], options.training, options.model, options.data
    shape = input_shape(options)
    by_kind = {augmentation.name: augmentation for augmentation in options.augmentations}
    masks, noise, mixup = (by_kind.get(kind) for kind in ("spec_augment", "background_mix", "mixup"))
    of_masks = ("domain", "probability", "num_masks", "unit", "max_bands", "max_frames", "fill")
    optimizer = training.optimizer
    found = {
        "features": options.features.name,
        "heard": (options.features.sample_rate, options.features.hop_length, shape.mel_frames, shape.mel_bands),
        "normalised": values_of(options.features, "mean", "std", "std_scale")[1:] if is_standardised(options) else None,
        "padding": getattr(options.features, "padding", None),
        "model": model.name,
        "parameters": num_parameters(name),
        "heads": getattr(model, "att_head", None),
        "head": tuple(getattr(model, key, None) for key in ("head", "eff_b", "image_size")),
        "first_classes": options.labels[:3],
        "excerpts": (source.longer, source.shorter),
        "strides": (getattr(model, "fstride", None), getattr(model, "tstride", None)),
        "trunk": tuple(
            getattr(model, key, None) for key in ("n_conv_layers", "n_pool_layers", "kernel_size", "pooling")
        ),
        "encoder": tuple(getattr(model, key, None) for key in ("n_trans_layers", "addpos", "transformer_dropout")),
        "embedding": getattr(model, "embedding_size", None),
        "begins": model.initialisation if model.name == "ast" else getattr(model, "pretrained", None),
        "clip_seconds": data.clip_seconds,
        "view": values_of(data.view, "hop_seconds", "tail", "short", "clip_scores"),
        "corpora": what_is_heard(source, options),
        "batch": source.batch_size,
        "sampling": variant(source.sampling),
        "chunks": values_of(source.chunks, "hop_seconds", "tail"),
        "waveform_mixup": values_of(source.waveform_mixup, "probability", "alpha", "partner", "larger"),
        "teacher": None if source.teacher is None else source.teacher.label_weight,
        "masks": None if masks is None else values_of(masks, *of_masks)[1:],
        "noise": None if noise is None else (noise.probability, noise.max_share, noise.spec_augment == masks),
        "feature_mixup": None
        if mixup is None
        else values_of(mixup, "domain", "probability", "alpha", "per", "larger")[1:],
        "rate": training.learning_rate,
        "epochs": training.n_epochs,
        "early_stop": training.early_stop_patience,
        "schedule": variant(training.schedule),
        "warmup": variant(training.warmup),
        "optimizer": (optimizer.name, optimizer.betas, optimizer.weight_decay, optimizer.amsgrad),
        "loss": training.loss.name,
        "selected_by": training.selection_metric,
        "averaged": values_of(training.weight_averaging, "first_epoch", "last_epoch"),
        "together": values_of(training.ensemble, "first_epoch", "last_epoch"),
    }
    return found


def is_standardised(options: TaggingOptions) -> bool:
    return hasattr(options.features, "std_scale")


@every_conf
def test_a_conf_is_what_was_published(name: str) -> None:
    published, ours = PUBLISHED[name], resolved(name)
    assert {key: ours[key] for key in published} == published


def test_every_conf_has_its_row() -> None:
    names = {path.stem for path in CONFS.glob("*.yaml")}
    assert {name for name in names if not name.startswith(OWN)} == PUBLISHED.keys()


def test_no_two_confs_resolve_equal() -> None:
    seen: dict[str, str] = {}
    for name in sorted(path.stem for path in CONFS.glob("*.yaml")):
        text = read(name).model_dump_json()
        assert text not in seen, f"{name} and {seen[text]} are the same"
        seen[text] = name


@every_conf
def test_a_conf_has_the_classes_of_its_corpus_and_builds_what_is_around_its_model(name: str) -> None:
    num_classes = {"fsd50k": 200, "audioset": 527, "esc50": 50, "vggsound": 309}
    corpus = name.removeprefix("psla_").removeprefix("gise51_").partition("_")[0]
    assert len(build_tagger(read(name), {}).labels) == num_classes.get(corpus, 51)


@every_conf
def test_a_conf_survives_its_run_folder(name: str, tmp_path: Path) -> None:
    write_options(read(name), tmp_path / "conf.yaml")
    assert read_options(tmp_path / "conf.yaml", TaggingOptions) == read(name)


@pytest.mark.parametrize("name", ["fsd50k_crnn", "psla_fsd50k", "audioset_mn10"])
def test_a_misspelt_key_is_refused(name: str) -> None:
    with pytest.raises(DesedTaskError, match="did you mean 'n_epochs'"):
        read_options(CONFS / f"{name}.yaml", TaggingOptions, ["training.n_epoch=3"])
