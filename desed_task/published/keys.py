"""The keys of a published conf, each taken by what it becomes here; what nobody takes, no published recipe ever read.

Names are written "section.key". Three lists are kept on the way: keys that never had an effect, keys that have none
here, and faults, which would change the result and are not supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from desed_task.errors import OptionsError

# What the code did in every year though no key of a conf says so; confs/sed/compat_2022.yaml sets the same.
COMPATIBILITY: dict[str, dict[str, Any]] = {
    "data": {"evaluation_length": "clip"},
    "model": {"batch_norm_momentum": 0.99},
    "training": {"full_rate_first_step": True},
    "mean_teacher": {"follows": "before_step"},
    "energy": {"test_includes_scoring": True},
}
NEVER_HAD_EFFECT = {
    "net.rnn_layers": "the network's argument is n_layers_RNN, which is 2, and keys it does not know are swallowed",
    "feats.n_filters": "kept by the label encoder and never used",
    "scaler.savepath": "read for statistic dataset only",
    "pretrained": "no embeddings are used",
}
NO_EFFECT_HERE = {
    "training.num_workers": "batches are cut from a packed store, without workers",
    "training.backend": "one device trains",
    "training.batch_size_val": "predictions do not depend on it",
    "training.enable_progress_bar": "shown at a terminal",
    "log_dir": "--log_dir",
}
_MISSING = object()


class PublishedKeys:
    """The keys of one published conf. `origin` is the file that messages name."""

    def __init__(self, tree: Mapping[str, Any], origin: str) -> None:
        self.values = flattened(tree)
        self.origin = origin
        self.never: dict[str, str] = {}
        self.idle: dict[str, str] = {}
        self.model_faults: list[str] = []
        self.training_faults: list[str] = []
        self._taken: set[str] = set()

    def take(self, key: str, default: Any = _MISSING) -> Any:
        """The value of a key; its default where it is absent, OptionsError when it has none."""
        self._taken.add(key)
        if key in self.values:
            return self.values[key]
        if default is _MISSING:
            raise OptionsError(f"{self.origin}: {key}: missing; every published conf has it, so add it")
        return default

    def require(self, key: str, allowed: Any, why: str, default: Any = _MISSING, of_training: bool = False) -> None:
        """Note a fault when the key's value is not the only one that is supported."""
        value = self.take(key, allowed if default is _MISSING else default)
        if value != allowed:
            faults = self.training_faults if of_training else self.model_faults
            faults.append(f"{key}: {value} ({why})")

    def close(self) -> None:
        """Sort what was not taken, or has no effect, into the lists."""
        for key in self.values:
            section = key.partition(".")[0]
            if section in NEVER_HAD_EFFECT and not self._is_taken(section):
                self.never[section] = NEVER_HAD_EFFECT[section]
            elif key in NEVER_HAD_EFFECT:
                self.never[key] = NEVER_HAD_EFFECT[key]
            elif key in NO_EFFECT_HERE:
                self.idle[key] = NO_EFFECT_HERE[key]
            elif section == "data" and key.endswith("_44k"):
                self.idle["data.*_44k"] = "recordings are read at any rate, nothing is resampled beforehand"
            elif key not in self._taken:
                self.never[key] = "no published recipe reads it"

    def _is_taken(self, section: str) -> bool:
        return any(key.partition(".")[0] == section for key in self._taken)


def flattened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """{"section": {"key": value}} -> {"section.key": value}; keys outside a section keep their name."""
    flat: dict[str, Any] = {}
    for section, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{section}.{key}": item for key, item in value.items()}
        else:
            flat[str(section)] = value
    return flat
