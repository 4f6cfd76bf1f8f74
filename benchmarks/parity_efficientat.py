"""EfficientAT's MobileNetV3 against ours: equal random weights, equal features, logits.

The peer is github.com/fschmid56/EfficientAT at COMMIT; it needs no packages beside ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.peer_network import largest_difference, run_peer
from desed_task.models.mobilenet import MobileNet, MobileNetOptions
from desed_task.models.tagger import InputShape

COMMIT = "a425fdce9257"
_CODE = """
import contextlib, io, os
here = os.getcwd()
os.chdir(os.environ["PEER"])  # it reads the class table while it is imported
from models.mn.model import get_model
os.chdir(here)
for name, width in (("mn04", 0.4), ("mn10", 1.0)):
    with contextlib.redirect_stdout(io.StringIO()):
        network = get_model(width_mult=width)
    heard = features(400, 128)
    image = heard.transpose(1, 2).unsqueeze(1)
    enliven(network, image)
    with torch.inference_mode():
        logits, _ = network(image)
    save(name, network.state_dict(), heard, {"weak_logits": logits})
"""
_WIDTHS = {"mn04": 0.4, "mn10": 1.0}


def rows(peer: Path) -> Iterator[dict[str, Any]]:
    """name, largest_difference (of logits), commit."""
    for case in run_peer(_CODE, peer, tuple(_WIDTHS)):
        model = MobileNet(MobileNetOptions(width=_WIDTHS[case.name]), InputShape(400, 128), 527)
        said = case.answer(model).weak_logits
        difference = largest_difference([(said, case.said["weak_logits"])])
        yield {"name": f"EfficientAT {case.name}", "largest_difference": difference, "commit": COMMIT}
