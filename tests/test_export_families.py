"""Every family of taggers with a published front-end of its own, as a bundle: the service hears what torch hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from desed_task.batch import Inputs
from desed_task.bundle import Bundle
from desed_task.chunking import Chunking
from desed_task.detector import Detector
from desed_task.embeddings.ears import Ears
from desed_task.export import export_bundle
from desed_task.labels import LabelSet
from desed_task.models.tagger import InputShape
from desed_task.parity import PARITY_TOLERANCE, synthetic_recordings
from desed_task.postprocessing.pipeline import PostProcessingOptions
from desed_task.prediction import predict
from desed_task.timeline import FrameGrid
from desed_task.variants import FRONTENDS, MODELS, Features, Model

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = LabelSet(["a", "b", "c"])
# front-end, model, its size where the default is large, seconds of a chunk
FAMILIES = [
    ("fsd50k_mel", {"name": "vgglike"}, 1.0),
    ("fsd50k_mel", {"name": "fsd50k_crnn"}, 1.0),
    ("fsd50k_mel", {"name": "densenet"}, 1.0),
    ("fsd50k_spectrogram", {"name": "resnet"}, 1.0),
    ("fsd50k_spectrogram", {"name": "cifar_resnet", "depth": 20}, 1.0),
    ("kaldi", {"name": "efficientnet"}, 5.0),
    ("kaldi", {"name": "resnet_attention"}, 5.0),
    ("kaldi", {"name": "ast", "model_size": "tiny224"}, 5.0),
    ("efficientat", {"name": "mobilenet"}, 5.0),
    ("panns", {"name": "cnn14"}, 2.0),
    ("tal", {"name": "tal"}, 5.0),
    ("tal", {"name": "taltrans"}, 5.0),
    ("tal", {"name": "transformer"}, 5.0),
    ("tal", {"name": "linear"}, 5.0),
]


@pytest.mark.slow
@pytest.mark.parametrize(("frontend_name", "model_keys", "seconds"), FAMILIES, ids=str)
def test_a_family_is_served_as_it_was_evaluated(
    tmp_path: Path, frontend_name: str, model_keys: dict[str, str], seconds: float
) -> None:
    features = TypeAdapter(Features).validate_python({"name": frontend_name})
    options = TypeAdapter(Model).validate_python(model_keys)
    grid = FrameGrid(features.sample_rate, features.hop_length, options.time_pooling)
    view = Chunking(grid, seconds, seconds / 2, tail="shift", short="zeros")
    torch.manual_seed(0)
    shape = InputShape(features.num_frames(view.window_samples), features.num_bands)
    model = MODELS[options.name](options, shape, len(LABELS))
    frontend, in_graph = (FRONTENDS[frontend_name](features, exportable).eval() for exportable in (False, True))
    recordings = synthetic_recordings(features.sample_rate)
    with torch.no_grad():  # batch-norm statistics of these very sounds: a random network is far from any data's
        heard = frontend(torch.from_numpy(np.stack([recording[: view.window_samples] for recording in recordings])))
        for _ in range(20):
            model.train()(Inputs(heard))
    bundle = Bundle("family", "1", LABELS, view, PostProcessingOptions(), fixed_view=True)
    bundle = export_bundle(model.eval(), Ears(in_graph), Ears(frontend), bundle, tmp_path / "bundle")
    waveform = np.concatenate(recordings[:2])[: int(2.3 * view.window_samples)]
    served = Detector(tmp_path / "bundle", device="cpu", num_threads=1).scores(waveform)
    by_torch = predict(model, Ears(frontend), [("clip", waveform)], view, LABELS, torch.device("cpu"))["clip"]
    np.testing.assert_allclose(served.clip_values, by_torch.clip_values, rtol=0, atol=PARITY_TOLERANCE)
    assert bundle.has_frames is (by_torch.frame_values is not None)
    if served.frame_values is not None:
        np.testing.assert_allclose(served.frame_values, by_torch.frame_values, rtol=0, atol=PARITY_TOLERANCE)
        assert len(served.frame_values) == grid.frames_covering(by_torch.duration)
