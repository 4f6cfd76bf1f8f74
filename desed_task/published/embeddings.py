"""What a published conf says of embeddings: `pretrained`, and the keys of `net` by which they join the network.

    pretrained.model panns | ast | beats        which embedder; BEATs is not here and its embeddings are read only
    e2e, freezed                                stored (e2e False), frozen (True, True) or learning (True, False)
    extracted_embeddings_dir, dest              folder of the stores, one per model; file of the weights (PANNs)
    net.embedding_type, net.aggregation_type    which embedding, and its way onto the frames (2022: the type alone)

Published `frame` embeddings of AST and of BEATs are patches of a spectrogram in the network's order, which are called
`tokens` here. Dropout before the joining layer and dropstep came in 2024. Relative paths start where those of the data
do. AST's file was always at AST_WEIGHTS; a file that is not there is not named, so that the published one is fetched.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from desed_task.published.keys import PublishedKeys

AST_WEIGHTS = "pretrained_models/audioset_10_10_0.4593.pth"
# The GRU over embedding frames has as many cells per direction whatever net.frame_emb_enc_dim says.
ENCODER_CELLS = 512


class _Embedding(NamedTuple):
    output: str
    size: int


# By model, what embedding_type says, as an output of ours with its values per embedding frame.
_EMBEDDINGS: Mapping[str, Mapping[str, _Embedding]] = {
    "panns": {"global": _Embedding("global", 2048), "frame": _Embedding("frame", 2048)},
    "ast": {"global": _Embedding("global", 527), "frame": _Embedding("tokens", 768)},
    "beats": {"global": _Embedding("global", 768), "frame": _Embedding("tokens", 768)},
}
_WAYS = {"global": ("global",), "frame": ("frame", "interpolate", "pool1d")}
# 10 s are 62 times of 8 patches, each of 16 frames of 10 ms, whose windows have 25 ms.
_BEATS = {"frames": 62, "patches": 8, "dim": 768, "frame_seconds": 0.16, "first_frame_seconds": 0.0875}


class Embeddings(NamedTuple):
    """Sections of ours: `embedders`, and of `model` what joins them."""

    embedders: dict[str, Any]
    model: dict[str, Any]


NONE = Embeddings({}, {})


def translate_embeddings(keys: PublishedKeys, year: int | None, starts: Sequence[Path]) -> Embeddings:
    """The embedder and the fusion; none where none is used, or where a fault says what is not supported."""
    kind, aggregation = keys.take("net.embedding_type", "global"), keys.take("net.aggregation_type", None)
    size, cells = keys.take("net.embedding_size", 527), keys.take("net.frame_emb_enc_dim", ENCODER_CELLS)
    dropstep, longest = keys.take("net.dropstep_recurrent", 0), keys.take("net.dropstep_recurrent_len", 5)
    if not keys.take("net.use_embeddings", False):
        if dropstep:
            keys.training_faults.append(f"net.dropstep_recurrent: {dropstep} (without embeddings, not supported)")
        return NONE
    name = keys.take("pretrained.model", "another model")
    known = _EMBEDDINGS.get(name) if isinstance(name, str) else None
    if known is None:
        keys.model_faults.append(
            f"net.use_embeddings and pretrained: embeddings of {name} (known are {', '.join(_EMBEDDINGS)})"
        )
        return NONE
    way = kind if aggregation is None and year in (None, 2022) else aggregation or "global"
    if not isinstance(kind, str) or way not in _WAYS.get(kind, ()):
        keys.model_faults.append(
            f"net.embedding_type: {kind} with net.aggregation_type: {aggregation} (global goes with global, frame with "
            f"frame, interpolate or pool1d)"
        )
        return NONE
    if size != known[kind].size:
        keys.model_faults.append(f"net.embedding_size: {size} ({kind} embeddings of {name} have {known[kind].size})")
    if way == "frame" and cells != ENCODER_CELLS:
        keys.model_faults.append(f"net.frame_emb_enc_dim: {cells} (the published network has {ENCODER_CELLS} always)")
    fusion = {"ways": {name: way}, "join": "concatenated"}
    if year == 2024:
        fusion |= {"dropout": keys.take("net.dropout", 0.5), "dropstep": dropstep, "dropstep_frames": longest}
    embedder = {"output": known[kind].output, **_translate_pretrained(keys, name, starts)}
    return Embeddings({name: embedder}, {"fusion": fusion})


def _translate_pretrained(keys: PublishedKeys, name: str, starts: Sequence[Path]) -> dict[str, Any]:
    """How the embedder is heard, and where its files are."""
    in_step, frozen = keys.take("pretrained.e2e", False), keys.take("pretrained.freezed", True)
    folder, file = keys.take("pretrained.extracted_embeddings_dir", "./embeddings"), keys.take("pretrained.dest", None)
    if "pretrained.url" in keys.values:
        keys.take("pretrained.url")
        keys.idle["pretrained.url"] = "weights are named by their file"
    if not frozen and not in_step:
        keys.training_faults.append("pretrained.freezed: False without e2e (stored embeddings cannot learn)")
    mode = "stored" if not in_step else "frozen" if frozen else "learning"
    store = {"store": _resolved(f"{folder}/{name}", starts)} if mode == "stored" else {}
    if name == "beats":
        if mode != "stored":
            keys.model_faults.append("pretrained.e2e: True (BEATs is not here; extract its embeddings and set False)")
        return {"name": "extracted", "mode": "stored", "store": _resolved(f"{folder}/{name}", starts), **_BEATS}
    if name == "ast":
        file = AST_WEIGHTS
        if "pretrained.dest" in keys.values:
            keys.never["pretrained.dest"] = f"AST's weights are at {AST_WEIGHTS}"
    weights = {} if file is None else _existing(str(file), starts)
    rate = {"learning_rate": keys.take("opt.lr")} if mode == "learning" else {}
    return {"name": name, "mode": mode, **store, **weights, **rate}


def _existing(file: str, starts: Sequence[Path]) -> dict[str, str]:
    path = _resolved(file, starts)
    return {"weights": path} if Path(path).is_file() else {}


def _resolved(path: str, starts: Sequence[Path]) -> str:
    places = [start / path for start in starts]
    return os.path.normpath(next((place for place in places if place.exists()), places[0]))
