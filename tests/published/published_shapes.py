"""Confs in the shapes of 2022, 2023 and 2024, with every key that was published (facts; the 2024 one without what needs
embeddings and MAESTRO), and checkpoints in the shapes of their Lightning versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning_fabric.utilities.data import AttributeDict
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

from desed_task.batch import Inputs
from desed_task.experiment import SedOptions
from desed_task.options import check_options
from desed_task.published.conf import translate_stored
from desed_task.system import build_frontend, build_model

ROOT = "../../data/dcase/dataset"


def published_tree(year: int, **net: Any) -> dict[str, Any]:
    """The default conf of a year; `net` replaces keys of that section."""
    tree: dict[str, Any] = {
        "training": {
            **{"batch_size": [12, 12, 24], "batch_size_val": 24, "const_max": 2, "n_epochs_warmup": 50},
            **{"num_workers": 6, "n_epochs": 200, "early_stop_patience": 200, "accumulate_batches": 1},
            **{"gradient_clip": 0.0, "median_window": 7, "val_thresholds": [0.5], "n_test_thresholds": 50},
            **{"ema_factor": 0.999, "self_sup_loss": "mse", "backend": "dp", "validation_interval": 1},
            **{"weak_split": 0.9, "seed": 42, "mixup": "soft", "obj_metric_synth_type": "intersection"},
            "precision": 32,
        },
        "scaler": {"statistic": "instance", "normtype": "minmax", "dims": [1, 2], "savepath": "./scaler.ckpt"},
        "data": _data("" if year == 2022 else "dcase_synth/"),
        "opt": {"lr": 0.001},
        "feats": {
            **{"n_mels": 128, "n_filters": 2048, "hop_length": 256, "n_window": 2048},
            **{"sample_rate": 16000, "f_min": 0, "f_max": 8000},
        },
        "net": {
            **{"dropout": 0.5, "rnn_layers": 2, "n_in_channel": 1, "nclass": 10, "attention": True},
            **{"n_RNN_cell": 128, "activation": "glu", "rnn_type": "BGRU", "kernel_size": [3] * 7},
            **{"padding": [1] * 7, "stride": [1] * 7, "nb_filters": [16, 32, 64, 128, 128, 128, 128]},
            **{"pooling": [[2, 2], [2, 2], *[[1, 2]] * 5], "dropout_recurrent": 0},
        },
    }
    if year >= 2023:
        tree["training"]["enable_progress_bar"] = True
    if year == 2024:
        tree["training"] |= {"deterministic": False, "mixup_prob": 0.5, "epoch_decay": 100, "n_epochs": 300}
        tree["training"] |= {"gradient_clip": 5.0, "validation_interval": 10, "maestro_split": 0.9}
        del tree["training"]["median_window"], tree["net"]["dropout_recurrent"]
        tree["net"] |= {"dropout": 0.2, "rnn_layers": 1, "n_RNN_cell": 192, "use_embeddings": False}
        tree["net"] |= {"specaugm_t_p": 0.0, "specaugm_t_l": 5, "specaugm_f_p": 0.0, "specaugm_f_l": 10}
        tree["net"] |= {"dropstep_recurrent": 0.0, "dropstep_recurrent_len": 16}
        tree["net"]["median_filter"] = [3, 9, 9, 5, 5, 5, 9, 7, 11, 9]
    tree["net"] |= net
    return tree


def _data(synthetic: str) -> dict[str, Any]:
    train = f"{ROOT}/{synthetic}audio/train/synthetic21_train/soundscapes"
    # 2023 puts the resampled validation soundscapes beside the originals' root, not below it.
    validation = "audio/validation/synthetic21_validation/soundscapes"
    folders = {
        "synth_folder": train,
        "strong_folder": f"{ROOT}/audio/train/strong_label_real",
        "weak_folder": f"{ROOT}/audio/train/weak",
        "unlabeled_folder": f"{ROOT}/audio/train/unlabel_in_domain",
        "test_folder": f"{ROOT}/audio/validation/validation",
        "eval_folder": f"{ROOT}/audio/eval21",
    }
    data: dict[str, Any] = {key: f"{folder}_16k/" for key, folder in folders.items()}
    data |= {f"{key}_44k": f"{folder}/" for key, folder in folders.items()}
    data |= {
        "synth_val_folder": f"{ROOT}/{validation}_16k/",
        "synth_val_folder_44k": f"{ROOT}/{synthetic}{validation}/",
    }
    tables = {
        "synth_tsv": f"{synthetic}metadata/train/synthetic21_train/soundscapes.tsv",
        "strong_tsv": "metadata/train/audioset_strong.tsv",
        "weak_tsv": "metadata/train/weak.tsv",
        "synth_val_tsv": f"{synthetic}metadata/validation/synthetic21_validation/soundscapes.tsv",
        "synth_val_dur": f"{synthetic}metadata/validation/synthetic21_validation/durations.tsv",
        "test_tsv": "metadata/validation/validation.tsv",
        "test_dur": "metadata/validation/validation_durations.tsv",
    }
    data |= {key: f"{ROOT}/{table}" for key, table in tables.items()}
    return data | {"audio_max_len": 10, "fs": 16000, "net_subsample": 4}


def write_conf(tree: dict[str, Any], recipe: Path) -> Path:
    """<recipe>/confs/default.yaml, where published confs stand."""
    path = recipe / "confs" / "default.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


SMALL_NET: dict[str, Any] = {
    **{"nb_filters": [8, 16, 16], "pooling": [[2, 4], [2, 4], [1, 8]], "n_RNN_cell": 16},
    **{"kernel_size": [3] * 3, "padding": [1] * 3, "stride": [1] * 3},
}


def small_tree(year: int, **net: Any) -> dict[str, Any]:
    """The year's conf with a small network."""
    return published_tree(year, **(SMALL_NET | net))


def heard_weights(tree: dict[str, Any], waveforms: torch.Tensor) -> tuple[SedOptions, dict[str, torch.Tensor]]:
    """Weights whose batch norms have heard `waveforms` (batch, samples) as that year's front-end gives them.

    The output layer is made steep, so that scores spread over [0, 1] as those of a trained model.
    """
    options = check_options(translate_stored(tree, "tree").tree, SedOptions)
    torch.manual_seed(0)
    model, frontend = build_model(options), build_frontend(options)
    with torch.no_grad():
        for _ in range(3):
            model(Inputs(frontend(waveforms)))
        model.dense.weight *= 20  # type: ignore[union-attr, operator]
    return options, model.eval().state_dict()


def lightning_checkpoint(
    tree: dict[str, Any], weights: dict[str, torch.Tensor], version: str, plain: bool = True
) -> dict[str, Any]:
    """What Lightning of a version saves: 1.5 has callback classes as keys and AttributeDicts, later ones text.

    plain: with sed_student and sed_teacher beside the state_dict, as the published code adds them.
    """
    old = version.startswith("1.")
    prefixed = {f"sed_{model}.{key}": value for model in ("student", "teacher") for key, value in weights.items()}
    buffers = {"mel_spec.spectrogram.window": torch.ones(2048), "mel_spec.mel_scale.fb": torch.ones(1025, 128)}
    of_callback = {
        **{"monitor": "val/obj_metric", "best_model_score": torch.tensor(1.1), "current_score": np.float64(1.1)},
        **{"best_k_models": {"exp/epoch=1-step=236.ckpt": torch.tensor(1.1)}, "kth_value": np.float32(1.1)},
    }
    checkpoint: dict[str, Any] = {
        "epoch": 1,
        "global_step": 236,
        "pytorch-lightning_version": version,
        "state_dict": {**prefixed, **buffers},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": np.float64(0.001)}]}],
        "lr_schedulers": [{"step_num": 237, "max_lr": 0.001, "last": np.int64(3)}],
        "callbacks": {(ModelCheckpoint if old else "ModelCheckpoint{'monitor': 'val/obj_metric'}"): of_callback},
        "hparams_name": "hparams",
        "hyper_parameters": (AttributeDict if old else dict)({**tree, "log_dir": "./exp/baseline"}),
    }
    if old:
        checkpoint["callbacks"][EarlyStopping] = {"wait_count": 0, "best_score": np.array([1.1])}
    if plain:
        checkpoint |= {"sed_student": dict(weights), "sed_teacher": dict(weights)}
    return checkpoint
