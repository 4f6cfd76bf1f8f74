"""The weights of an embedder: where they are, which they are, and what a detector writes down of them.

A frozen embedder is in no checkpoint, so a detector is only whole with the very file that it was trained with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from desed_task.data.fetch.weights import fetch_weights
from desed_task.embedders.options import NetworkOptions, PublishedOptions, resolved
from desed_task.embeddings.extracted import ExtractedOptions
from desed_task.embeddings.store import weights_of_stores
from desed_task.embeddings.weight_files import found_beside, require_weights, sha256_of
from desed_task.errors import CheckpointError
from desed_task.published.hugging_face import fetched_folder
from desed_task.published.weights import published_weights


def recorded(options: NetworkOptions | ExtractedOptions) -> NetworkOptions | ExtractedOptions:
    """The same with the sha256 of its weights, for a training that begins.

    CheckpointError when they are not there, which mode stored need not have (then it is what the stores say), or not
    those with the conf's sha256.
    """
    if isinstance(options, ExtractedOptions):
        return options
    if options.mode == "stored" and not _has_weights(options):
        assert options.store is not None, "mode stored has a store"
        return options.model_copy(update={"sha256": options.sha256 or weights_of_stores(options.store) or None})
    weights = required_weights(options)
    return options.model_copy(update={"sha256": sha256_of(weights)})


def described_weights(options: Any) -> dict[str, str | None]:
    """Which file the weights of an embedder are from, for those who will not have the file."""
    known = resolved(options)
    if isinstance(known, ExtractedOptions):
        return {"mode": known.mode, "file": None, "sha256": None}
    if known.sha256 is None and known.mode != "learning":
        known = cast(NetworkOptions, recorded(known))
    file = None if known.weights is None else known.weights.name
    return {"mode": known.mode, "file": file, "sha256": known.sha256}


def with_weights_beside(options: Any, folder: Path) -> Any:
    """The same with weights that lie in `folder` and not where they were."""
    if not isinstance(options, NetworkOptions) or options.weights is None:
        return options
    return options.model_copy(update={"weights": found_beside(options.weights, folder)})


def _has_weights(options: NetworkOptions) -> bool:
    return options.weights is not None and options.weights.exists()


def required_weights(options: NetworkOptions) -> Path:
    """Where the weights are: what the conf names, else the published file, which is fetched and verified.

    CheckpointError when they are not there, or others than the options say; FetchError when they cannot be had.
    """
    path = _published_file(options) if options.weights is None else fetched_folder(options.weights)
    require_weights(path, options.sha256)
    return path


def _published_file(options: NetworkOptions) -> Path:
    published = published_weights(options.model, options.features)
    if published is None or not isinstance(options, PublishedOptions):
        raise CheckpointError(
            f"embedders: no weights are named for {options.name} and none are published of this network; set weights "
            f"to their file"
        )
    return fetch_weights(published, options.weights_dir)
