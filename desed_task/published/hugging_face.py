"""AST as Hugging Face keeps it: a local folder (config.json and model.safetensors or pytorch_model.bin), or a hub id.

Both are read by `transformers`, which is an extra (`hub`). It fills what a file lacks at random and says so at best in
its log; here that counts as missing. The configuration is compared with our options, since attention heads and strides
change what a network says and no shape of its weights; so is that of the feature extractor, where there is one. Hugging
Face's layer norms add 1e-12 where the original's add 1e-6 (logits differ by up to 1e-4).

A hub id is what has the form OWNER/NAME and is no file or folder here. What is fetched stays in Hugging Face's own
cache (`HF_HOME`), resumable and verified there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from desed_task.errors import CheckpointError
from desed_task.features.frontend import FrontendOptions
from desed_task.features.kaldi import KaldiOptions
from desed_task.models.ast import AST, PATCH, SIZES
from desed_task.published.tagger_files import require_finite

_CONFIG, _EXTRACTOR = "config.json", "preprocessor_config.json"
_FILES = ("model.safetensors", "pytorch_model.bin")
_MODEL_TYPE = "audio-spectrogram-transformer"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_FILE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
# Of a configuration that leaves them out.
_DEFAULTS: dict[str, Any] = {
    **{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    **{"patch_size": PATCH, "frequency_stride": 10, "time_stride": 10, "num_mel_bins": 128},
    **{"hidden_act": "gelu", "qkv_bias": True},
}


def is_hugging_face(path: Path) -> bool:
    """Whether `path` is a folder of Hugging Face or looks like a hub id."""
    if path.exists():
        return (path / _CONFIG).is_file()
    return bool(_HUB_ID.fullmatch(path.as_posix())) and path.suffix not in _FILE_SUFFIXES


def fetched_folder(path: Path) -> Path:
    """Where the files of a hub id are, fetched where they are not there yet; any other path as it is."""
    return _fetch(path) if is_hugging_face(path) and not path.exists() else path


def read_hugging_face(path: Path, model: nn.Module, features: FrontendOptions | None) -> dict[str, Tensor]:
    """The state dict, by Hugging Face's names, of an AST for `model`.

    features: the conf's front-end, with which that of the folder is compared. CheckpointError where it cannot be had or
    read, or its configuration is another than the model's.
    """
    folder = fetched_folder(path)
    _require_same(_read_json(folder / _CONFIG), model, path)
    if isinstance(features, KaldiOptions) and (folder / _EXTRACTOR).is_file():
        _require_same_features(_read_json(folder / _EXTRACTOR), features, path)
    network, report = _load(folder, path)
    for kind, fault in (("unexpected_keys", "which AST has not"), ("mismatched_keys", "of another shape than its AST")):
        if report[kind]:
            raise CheckpointError(f"{path}: holds {_first_name(report[kind])}, {fault}; fetch it again or name another")
    weights = {name: values for name, values in network.state_dict().items() if name not in report["missing_keys"]}
    require_finite(weights, path)
    return weights


def _load(folder: Path, path: Path) -> tuple[nn.Module, dict[str, Any]]:
    try:
        from transformers import ASTForAudioClassification
        from transformers.utils import logging
    except ImportError:
        raise CheckpointError(
            f"{path}: is read by transformers, which is not installed; pip install 'transformers>=5,<6', or name the "
            f"original file of AST"
        ) from None
    if not any((folder / name).is_file() for name in _FILES):
        raise CheckpointError(f"{path}: holds neither {' nor '.join(_FILES)}; put the weights beside {_CONFIG}")
    talk: Any = logging
    talk.set_verbosity_error()  # what it has to report is in ours
    talk.disable_progress_bar()
    try:
        loaded: Any = ASTForAudioClassification.from_pretrained(
            str(folder), local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # OSError, RuntimeError, SafetensorError, ...: what is wrong with the files
        raise CheckpointError(f"{path}: transformers cannot read it ({_first_words(error)}); fetch it again") from None
    network: nn.Module = loaded[0]
    report: dict[str, Any] = loaded[1]
    return network, report


def _fetch(path: Path) -> Path:
    """The folder in Hugging Face's cache that a hub id is kept in, fetched where it is not there yet."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{path}: no such file or folder here, and a hub id is read by transformers, which is not installed; "
            f"correct the path, or pip install 'transformers>=5,<6'"
        ) from None
    hub_id = path.as_posix()
    folder = Path()
    try:
        for weights in _FILES:  # the second where a model has no safetensors
            folder = Path(snapshot_download(hub_id, allow_patterns=[_CONFIG, _EXTRACTOR, weights]))
            if (folder / weights).is_file():
                break
    except Exception as error:  # of the network, of the hub, of the id itself
        raise CheckpointError(
            f"{path}: no such file or folder here, and the hub does not give it ({_first_words(error)}); put "
            f"{_CONFIG} and {_FILES[0]} of https://huggingface.co/{hub_id} into the folder {path}"
        ) from None
    if not (folder / _CONFIG).is_file():
        raise CheckpointError(f"{path}: holds no {_CONFIG}; name an AST")
    return folder


def _read_json(file: Path) -> dict[str, Any]:
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file}: not a readable configuration ({_first_words(error)}); fetch it again") from None
    if not isinstance(tree, dict):
        raise CheckpointError(f"{file}: not a configuration of Hugging Face; fetch it again")
    return tree


def _require_same(config: dict[str, Any], model: nn.Module, path: Path) -> None:
    if config.get("model_type") != _MODEL_TYPE:
        raise CheckpointError(f"{path}: holds {config.get('model_type')}, and only {_MODEL_TYPE} is read; name an AST")
    if not isinstance(model, AST):
        raise CheckpointError(f"{path}: holds an AST, the conf's model is {type(model).__name__}; choose name: ast")
    theirs, options = _DEFAULTS | config, model.options
    dim, num_heads = SIZES[options.model_size]
    ours: dict[str, tuple[Any, str]] = {
        "hidden_size": (dim, "model_size"),
        "num_attention_heads": (num_heads, "model_size"),
        "intermediate_size": (4 * dim, "model_size"),
        "num_hidden_layers": (options.depth, "depth"),
        "patch_size": (PATCH, ""),
        "frequency_stride": (options.fstride, "fstride"),
        "time_stride": (options.tstride, "tstride"),
        "hidden_act": ("gelu", ""),
        "qkv_bias": (True, ""),
    }
    for key, (wanted, option) in ours.items():
        if theirs[key] != wanted:
            remedy = f"set model.{option} to that of the checkpoint" if option else "name a checkpoint of AST"
            raise CheckpointError(f"{path}: its {key} is {theirs[key]} and the conf's model has {wanted}; {remedy}")
    rows = (theirs["num_mel_bins"] - PATCH) // options.fstride + 1
    if rows != model.grid[0]:
        raise CheckpointError(
            f"{path}: its {theirs['num_mel_bins']} mel bins give {rows} rows of patches and the conf's front-end gives "
            f"{model.grid[0]}; set features.n_mels to {theirs['num_mel_bins']}"
        )


def _require_same_features(config: dict[str, Any], features: KaldiOptions, path: Path) -> None:
    """Its extractor subtracts the mean and divides by twice the deviation."""
    ours = {
        "sampling_rate": ("sample_rate", features.sample_rate, 1.0),
        "mean": ("mean", features.mean, 1.0),
        "std": ("std times std_scale", features.std * features.std_scale, 2.0),
    }
    for key, (option, value, factor) in ours.items():
        theirs = config.get(key)
        if isinstance(theirs, int | float) and abs(factor * theirs - value) > 1e-4 * abs(value):
            raise CheckpointError(
                f"{path}: it learned from features whose {option} is {factor * theirs:g} and the conf's is {value:g}; "
                f"set features.{option.split()[0]} to {theirs:g}"
            )


def _first_name(found: Iterable[Any]) -> str:
    """Of names, or of names with shapes."""
    return min(str(each) if isinstance(each, str) else str(each[0]) for each in found)


def _first_words(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
