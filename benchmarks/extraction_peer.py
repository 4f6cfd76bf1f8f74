"""The published extraction of PANNs embeddings, run aside: one line of JSON in, one out, for every time that is taken.

    PYTHONPATH=PEER:PEER/recipes/dcase2022_task4_baseline:PEER/packages python benchmarks/extraction_peer.py

Never imported. What runs is the published script's `WavDataset`, `extract` and `Cnn14_16k`: a loader without workers,
the HDF5 of 2022. torchaudio's reader of files is replaced by soundfile's, for torchaudio's needs another package.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import soundfile
import torch
import torchaudio


def main() -> None:
    """Answer requests until there are none."""
    torchaudio.load = _load
    answers, sys.stdout = sys.stdout, sys.stderr
    network: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        if "weights" in request:
            torch.set_num_threads(request["threads"])
            network = _network(request["weights"])
            answer: dict[str, Any] = {"torch": torch.__version__}
        else:
            answer = {"seconds": _extract(network, **request)}
        print(json.dumps(answer), file=answers, flush=True)


def _network(weights: str) -> Any:
    """The published network with random weights, which are saved as published."""
    from local.panns.models import Cnn14_16k

    torch.manual_seed(0)
    network = Cnn14_16k(freeze_bn=True, use_specaugm=True)
    for module in network.modules():  # statistics of norms that are not those of nothing
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0.0, 0.1)
    torch.save({"model": network.state_dict()}, weights)
    network.eval()  # which returns nothing here
    return network


def _extract(network: Any, recordings: str, folder: str, batch_size: int) -> float:
    """Seconds of the published `extract` over a folder of recordings, into <folder>/peer.hdf5."""
    from extract_embeddings import WavDataset, extract

    dataset = WavDataset(recordings)
    start = time.perf_counter()
    extract(batch_size, folder, "peer", dataset, network, use_gpu=False)
    return time.perf_counter() - start


def _load(path: str) -> tuple[torch.Tensor, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate


if __name__ == "__main__":
    main()
