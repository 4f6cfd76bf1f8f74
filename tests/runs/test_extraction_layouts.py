"""What a file of each layout holds: as published of published networks, what the detector listens to otherwise."""

from __future__ import annotations

import pytest
import torch

from desed_task.batch import Inputs
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, NetworkOptions, PANNsEmbedderOptions
from desed_task.embeddings.layouts import LayoutName
from desed_task.embeddings.pooling import Listener
from desed_task.features.logmel import LogMelOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.embedding import EmbedsTogether
from desed_task.models.tagger import InputShape
from desed_task.runs.extraction_embedders import Extraction, layout_embedders

LISTENER = Listener(LogMelOptions(), time_pooling=4, frames=156)


def held(options: NetworkOptions, layout: LayoutName) -> dict[str, tuple[str, int, int]]:
    """part -> (output, embedding_frames, dim) of 10 s."""
    parts = layout_embedders(BuiltEmbedder(options, 16_000, 10.0, LISTENER), layout)
    shapes = {part: one.shape(LISTENER.features) for part, one in parts.items()}
    return {str(part): (one.options.output, shapes[part].frames, shapes[part].dim) for part, one in parts.items()}


def test_of_ast_the_published_layouts_hold_tokens_and_logits() -> None:
    published = {"frame": ("tokens", 1214, 768), "global": ("global", 1, 527)}
    assert held(ASTEmbedderOptions(), "2022") == held(ASTEmbedderOptions(), "2023") == published
    assert held(ASTEmbedderOptions(output="global"), "2023") == published
    assert held(ASTEmbedderOptions(), "compact") == {"frame": ("frame", 101, 768)}
    assert held(ASTEmbedderOptions(output="clip"), "compact") == {"frame": ("clip", 1, 768)}


def test_of_panns_the_published_layouts_hold_frames_and_the_clip() -> None:
    published = {"frame": ("frame", 125, 2048), "global": ("global", 1, 2048)}
    assert held(PANNsEmbedderOptions(), "2023") == held(PANNsEmbedderOptions(output="global"), "2022") == published
    assert held(PANNsEmbedderOptions(output="segments"), "2023")["frame"] == ("segments", 31, 2048)


def test_faster_embeddings_are_pooled_in_compact_files_alone() -> None:
    listener = LISTENER._replace(time_pooling=8, frames=78)
    embedder = BuiltEmbedder(PANNsEmbedderOptions(), 16_000, 10.0, listener)
    frames = {
        layout: layout_embedders(embedder, layout)["frame"].shape(listener.features).frames
        for layout in ("compact", "2023")
    }
    assert frames == {"compact": 78, "2023": 125}


@pytest.mark.parametrize("seconds", [10.0, 9.5])
def test_recordings_may_be_less_than_a_frame_too_long(seconds: float) -> None:
    parts = layout_embedders(BuiltEmbedder(PANNsEmbedderOptions(), 16_000, seconds, LISTENER), "compact")
    extraction = Extraction(parts, LISTENER.features, "compact", 8, torch.device("cpu"))
    assert seconds < extraction.longest_seconds < seconds + 0.1
    assert extraction.num_samples == seconds * 16_000


def test_several_embeddings_of_one_pass_are_those_of_several() -> None:
    torch.manual_seed(0)
    network = Cnn14(Cnn14Options(width=0.05), InputShape(200, 64), 3).eval()
    assert isinstance(network, EmbedsTogether)
    heard = Inputs(torch.randn(2, 200, 64))
    with torch.no_grad():
        together = network.embed_together(heard, Cnn14.EMBEDDINGS)
        assert together.keys() == set(Cnn14.EMBEDDINGS)
        for name, values in together.items():
            assert torch.equal(network.embed(heard, name), values)
