"""The CRNN of the DESED baselines with embeddings against ours: equal random weights, probabilities.

The peer is github.com/DCASE-REPO/DESED_task at COMMIT (2023 and 2024) and at COMMIT_2022. The later one raises an
UnboundLocalError for one embedding of the clip (`global`), so that is compared with the earlier one, whose
`embedding_type` says what `aggregation_type` said afterwards.

Embeddings are random, in the shapes of AST's logits and tokens, of PANNs' frames and of BEATs' patches; the peer is
asked that the two clips' embeddings exchanged change what it says, else agreement shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.peer_network import PeerCase, largest_difference, run_peer
from desed_task.batch import Embedding, Inputs
from desed_task.models.crnn import CRNN, CRNNOptions
from desed_task.models.embedding import EmbeddingShape
from desed_task.models.fusion import FusionOptions
from desed_task.models.tagger import InputShape
from desed_task.published.fused_weights import detector_weights
from desed_task.published.tagger_files import read_tagger_weights
from desed_task.system import load_weights

COMMIT, COMMIT_2022 = "c6bcb45b8b98", "fc22f3a962fc"
# way, embedding frames, values
_Case = tuple[Any, int, int]
_CASES_2022: Mapping[str, _Case] = {
    "global, AST": ("global", 1, 527),
    "global, PANNs": ("global", 1, 2048),
    "frame, PANNs": ("frame", 125, 2048),
    "frame, AST": ("frame", 1214, 768),
}
_CASES: Mapping[str, _Case] = {
    "frame, AST": ("frame", 1214, 768),
    "interpolate, AST": ("interpolate", 1214, 768),
    "interpolate, PANNs": ("interpolate", 125, 2048),
    "interpolate, BEATs": ("interpolate", 496, 768),
    "pool1d, AST": ("pool1d", 1214, 768),
    "pool1d, PANNs": ("pool1d", 125, 2048),
    "pool1d, BEATs": ("pool1d", 496, 768),
}
_CODE = """
from nnet.CRNN import CRNN
NET = dict(
    dropout=0.5, n_in_channel=1, nclass=10, attention=True, n_RNN_cell=128, activation="glu", rnn_type="BGRU",
    kernel_size=[3] * 7, padding=[1] * 7, stride=[1] * 7, nb_filters=[16, 32, 64, 128, 128, 128, 128],
    pooling=[[2, 2], [2, 2]] + [[1, 2]] * 5, dropout_recurrent=0,
)

class With(torch.nn.Module):
    def __init__(self, network, embeddings):
        super().__init__()
        self.network, self.embeddings = network, embeddings

    def forward(self, heard):
        return self.network(heard, embeddings=self.embeddings)

for name, (way, frames, size) in __CASES__.items():
    embeddings = torch.randn(2, size) if way == "global" else torch.randn(2, size, frames)
    if frames > 1:  # colours of clips, and courses
        embeddings += torch.randn(2, size, 1) + torch.randn(2, 1, frames)
    network = CRNN(use_embeddings=True, embedding_size=size, **{"__KEY__": way}, **NET)
    heard = features(626, 128).transpose(1, 2)
    network.dense.weight.data.mul_(20)
    network.dense_softmax.weight.data.mul_(20)
    network.cat_tf.weight.data.mul_(3)
    enliven(With(network, embeddings), heard)
    with torch.inference_mode():
        strong, weak = network(heard, embeddings=embeddings)
        exchanged, _ = network(heard, embeddings=embeddings.flip(0))
    assert (strong - exchanged).abs().max() > 0.1, "the embeddings change next to nothing"
    embeddings = embeddings[:, :, None] if way == "global" else embeddings
    save(name, network.state_dict(), heard.transpose(1, 2).contiguous(),
         {"strong": strong, "weak": weak, "embeddings": embeddings})
"""


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of probabilities), commit; for each aggregation of 2023 and 2024."""
    yield from _rows(peer, _CASES, "aggregation_type", COMMIT, "2023, 2024")


def rows_2022(peer: Path) -> Iterator[dict[str, Any]]:
    """As `rows`, of 2022."""
    yield from _rows(peer, _CASES_2022, "embedding_type", COMMIT_2022, "2022")


def _rows(peer: Path, cases: Mapping[str, _Case], key: str, commit: str, years: str) -> Iterator[dict[str, Any]]:
    code = _CODE.replace("__CASES__", repr(dict(cases))).replace("__KEY__", key)
    for case in run_peer(code, peer, tuple(cases), source="desed_task"):
        way = cases[case.name][0]
        yield {
            "name": f"CRNN {years}: {case.name}",
            "largest_difference": _difference(case, way),
            "commit": commit,
        }


def _difference(case: PeerCase, way: Any) -> float:
    embeddings = case.said["embeddings"].transpose(1, 2)
    shape = InputShape(626, 128, {"e": EmbeddingShape(embeddings.shape[1], embeddings.shape[2])})
    model = CRNN(CRNNOptions(fusion=FusionOptions(ways={"e": way})), shape, 10).eval()
    load_weights(model, detector_weights(read_tagger_weights(case.checkpoint), "e"), str(case.checkpoint))
    with torch.inference_mode():
        said = model(Inputs(case.heard, {"e": Embedding(embeddings, is_timed=False)}))
    return largest_difference(
        [(said.strong_probs.transpose(1, 2), case.said["strong"]), (said.weak_probs, case.said["weak"])]
    )
