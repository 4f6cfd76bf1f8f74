"""What is stored is what would be heard in the step: of the same sound, the same weights, the whole clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from desed_task.audio.reading import read_waveform
from desed_task.embedders.build import BuiltEmbedder
from desed_task.embedders.options import ASTEmbedderOptions, PANNsEmbedderOptions
from desed_task.embedders.weights import recorded
from desed_task.embeddings.origin import Origin, recording_of
from desed_task.embeddings.pooling import Listener
from desed_task.embeddings.store import weights_of_stores
from desed_task.embeddings.store_file import Clock, Contents, write_store
from desed_task.errors import CorpusError, OptionsError
from desed_task.features.logmel import LogMelOptions
from desed_task.features.panns import PANNsOptions
from desed_task.models.cnn14 import Cnn14Options
from desed_task.runs.extraction_embedders import Extraction, layout_embedders

LISTENER = Listener(LogMelOptions(), 4, 156)


def test_an_embedder_of_another_rate_hears_what_the_detector_hears(tmp_path: Path) -> None:
    noise = tmp_path / "noise.wav"
    soundfile.write(noise, 0.1 * np.random.default_rng(0).standard_normal(44_100), 44_100)
    options = PANNsEmbedderOptions(
        features=PANNsOptions(sample_rate=32_000), model=Cnn14Options(width=0.05), weights=tmp_path / "w.pth"
    )
    embedder = BuiltEmbedder(options, 16_000, 1.0, LISTENER)
    torch.manual_seed(0)
    torch.save(embedder.network().network.state_dict(), tmp_path / "w.pth")
    waveform = read_waveform(noise, 16_000)  # of the detector
    expected = embedder.embedder()(torch.from_numpy(waveform)[None]).values.numpy()
    extraction = Extraction(layout_embedders(embedder, "2023"), LISTENER.features, "2023", 8, torch.device("cpu"))
    stored = extraction.hear(read_waveform(noise, extraction.sample_rate)[None])["frame"]
    np.testing.assert_allclose(stored, expected, atol=1e-5)


@pytest.mark.parametrize(("seconds", "is_heard"), [(10.0, True), (10.24, True), (11.0, False), (20.0, False)])
def test_a_clip_is_heard_to_its_end_or_refused(seconds: float, is_heard: bool) -> None:
    embedder = BuiltEmbedder(ASTEmbedderOptions(), 16_000, seconds)
    if is_heard:
        assert embedder.shape(LogMelOptions()).frames == 101
    else:
        with pytest.raises(OptionsError, match=r"ast hears 1024 mel frames, clips of .* s have \d+; take a shorter"):
            embedder.shape(LogMelOptions())


def test_a_training_from_stores_remembers_whose_they_are(tmp_path: Path) -> None:
    def write(name: str, weights: str) -> None:
        origin = Origin({"model": "m"}, weights * 64, 10.0)
        (tmp_path / "clip.wav").write_bytes(b"a clip")
        recordings = {"clip": recording_of(tmp_path / "clip.wav")}
        contents = Contents("frame", Clock(0.08, 0.32), origin)
        write_store(tmp_path / name, "compact", contents, recordings, [{"frame": np.zeros((1, 5, 3), np.float32)}])

    write("one.hdf5", "a")
    write("unknown.hdf5", "")
    options = PANNsEmbedderOptions(mode="stored", store=tmp_path)
    assert recorded(options).sha256 == "a" * 64  # type: ignore[union-attr]
    write("two.hdf5", "b")
    with pytest.raises(CorpusError, match=r"one\.hdf5 and .*two\.hdf5 were extracted with other weights"):
        weights_of_stores(tmp_path)
