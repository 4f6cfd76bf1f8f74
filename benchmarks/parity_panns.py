"""The PANNs against ours, alone and with front-ends: equal random weights, probabilities of clips and segments.

The peer is github.com/qiuqiangkong/audioset_tagging_cnn at COMMIT. It needs librosa and
`pip install --no-deps --target PEER/packages torchlibrosa==0.1.0`.

Behind the front-ends the clips have a noise floor. Of pure tones without one, bins 110 dB below the loudest hold
nothing but rounding, by FFT another than by the published convolution (.04 dB), which moves probabilities of these
networks, sharpened as they are, by up to 4e-4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.peer_network import PeerCase, largest_difference, run_peer
from desed_task.features.panns import PANNs, PANNsOptions
from desed_task.models.cnn14 import Cnn14, Cnn14Options
from desed_task.models.tagger import InputShape

COMMIT = "d2f4b8c18eab"
_CODE = """
import models
SETTINGS = {32000: (1024, 320, 64, 50, 14000), 16000: (512, 160, 64, 50, 8000)}
for name, kind, rate in (
    ("Cnn14", "Cnn14", 32000), ("Cnn14_16k", "Cnn14_16k", 16000), ("Cnn10", "Cnn10", 32000), ("Cnn6", "Cnn6", 32000),
    ("Cnn14_DecisionLevelMax", "Cnn14_DecisionLevelMax", 32000),
    ("Cnn14_DecisionLevelAvg", "Cnn14_DecisionLevelAvg", 32000),
    ("Cnn14_DecisionLevelAtt", "Cnn14_DecisionLevelAtt", 32000),
):
    window, hop, bands, fmin, fmax = SETTINGS[rate]
    heard = waveforms(3 * rate)
    network = enliven(getattr(models, kind)(rate, window, hop, bands, fmin, fmax, 527), heard, head=3.0)
    mel = []
    network.logmel_extractor.register_forward_hook(lambda module, inputs, output: mel.append(output[:, 0].clone()))
    with torch.inference_mode():
        said = network(heard)
    said = {n: said[n].clone() for n in ("clipwise_output", "framewise_output") if n in said}
    save(name, {"iteration": 0, "model": network.state_dict()}, mel[0], {**said, "waveform": heard})
"""
_OPTIONS: dict[str, dict[str, Any]] = {
    "Cnn14": {},
    "Cnn14_16k": {},
    "Cnn10": {"architecture": "cnn10"},
    "Cnn6": {"architecture": "cnn6"},
    "Cnn14_DecisionLevelMax": {"decision": "max"},
    "Cnn14_DecisionLevelAvg": {"decision": "avg"},
    "Cnn14_DecisionLevelAtt": {"decision": "att"},
}


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of probabilities), commit; for each network alone and behind our front-end."""
    for case in run_peer(_CODE, peer, tuple(_OPTIONS), source="pytorch"):
        frontend = PANNs(PANNsOptions(sample_rate=16000 if case.name == "Cnn14_16k" else 32000))
        for name, mel in (
            (case.name, case.heard),
            (f"{case.name}, from the waveform", frontend(case.said["waveform"])),
        ):
            yield {"name": f"PANNs {name}", "largest_difference": _difference(case, mel), "commit": COMMIT}


def _difference(case: PeerCase, mel: Tensor) -> float:
    options = Cnn14Options(**_OPTIONS[case.name])
    said = case.answer(Cnn14(options, InputShape(mel.shape[1], mel.shape[2]), 527), mel)
    pairs = [(said.weak_probs, case.said["clipwise_output"])]
    if "framewise_output" in case.said:  # the published frames repeat each segment 32 times, and the last one more
        segments = case.said["framewise_output"][:, :: options.time_pooling]
        pairs.append((said.strong_probs, segments[:, : said.strong_probs.shape[1]]))
    return largest_difference(pairs)
