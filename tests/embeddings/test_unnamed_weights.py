"""Weights that a conf does not name: the published file of the network, in a folder of weights, or a sentence."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from published_names import ast, filled, saved

from desed_task.data.fetch import weights as files
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, NetworkOptions, PANNsEmbedderOptions
from desed_task.embedders.weights import recorded
from desed_task.errors import CheckpointError, FetchError
from desed_task.features.kaldi import KaldiOptions
from desed_task.features.panns import PANNsOptions
from desed_task.models.ast import ASTOptions
from desed_task.models.cnn14 import Cnn14Options
from desed_task.published.weights import published_weights

KALDI = KaldiOptions(target_frames=1024)
AT_16, AT_32 = PANNsOptions(sample_rate=16000), PANNsOptions(sample_rate=32000)


@pytest.mark.parametrize(
    ("model", "features", "expected"),
    [
        (Cnn14Options(), AT_16, files.CNN14_16K),
        (Cnn14Options(dropout=0.1), AT_32, files.CNN14),
        (Cnn14Options(decision="max"), AT_32, files.CNN14_DECISION_LEVEL_MAX),
        (Cnn14Options(decision="max"), AT_16, None),
        (Cnn14Options(architecture="cnn10"), AT_32, None),
        (Cnn14Options(width=0.5), AT_16, None),
        (Cnn14Options(), KALDI, None),
        (ASTOptions(), KALDI, files.AST_AUDIOSET),
        (ASTOptions(pooling="frames"), KaldiOptions(), files.AST_AUDIOSET),  # of any length, positions are resized
        (ASTOptions(fstride=16, tstride=16), KALDI, None),
        (ASTOptions(model_size="small224"), KALDI, None),
        (ASTOptions(depth=6), KALDI, None),
        (ASTOptions(), KaldiOptions(n_mels=64), None),
    ],
)
def test_which_file_was_published_of_a_network(
    model: Any, features: Any, expected: files.PublishedWeights | None
) -> None:
    assert published_weights(model, features) is expected


def test_the_published_kinds_have_published_weights_as_they_stand() -> None:
    for options in (PANNsEmbedderOptions(), ASTEmbedderOptions()):
        assert published_weights(options.model, options.features) is not None


def test_the_original_file_of_ast_is_found_in_the_folder_of_weights(tmp_path: Path) -> None:
    path = saved(tmp_path / "audioset_10_10_0.4593.pth", filled(ast()))
    options = recorded(ASTEmbedderOptions(weights_dir=tmp_path))
    assert isinstance(options, NetworkOptions)
    assert options.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_an_embedder_begins_from_what_lies_in_the_folder_of_weights(tmp_path: Path) -> None:
    weights = filled(ast())
    saved(tmp_path / "audioset_10_10_0.4593.pth", weights)
    network = BuiltEmbedder(ASTEmbedderOptions(weights_dir=tmp_path), 16_000, 10.0).trained_network().network
    assert float(network.state_dict()["v.norm.bias"][7]) == float(weights["module.v.norm.bias"][7])


def test_another_file_under_a_published_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Cnn14_16k_mAP=0.438.pth"
    path.write_bytes(b"another")
    with pytest.raises(FetchError, match=r"438\.pth: has 7 bytes, 358668570 were published; delete it, so that it is"):
        recorded(PANNsEmbedderOptions(weights_dir=tmp_path))
    assert path.read_bytes() == b"another"


def test_what_was_never_published_must_be_named(tmp_path: Path) -> None:
    small = PANNsEmbedderOptions(model=Cnn14Options(width=0.05), weights_dir=tmp_path)
    network = NetworkOptions(features=KALDI, model=ASTOptions())
    for options in (small, network):
        with pytest.raises(CheckpointError, match=f"no weights are named for {options.name} and none are published of"):
            recorded(options)
