"""Weights of published networks, fetched once into a folder of weights and verified whenever they are used.

PANNs (Kong et al. 2020) are on Zenodo, record 3987831; AST (Gong et al. 2021) on the Hugging Face hub in the revision
that is named here, since the address of the original file changes. The original, audioset_10_10_0.4593.pth, may be put
into the folder in its place. Sizes and checksums are as several public projects that use the files record them; a file
whose are others is refused here and may still be named by `weights`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock

from desed_task.data.fetch.download import RemoteFile, fetch_file
from desed_task.data.fetch.retrying import RetryPolicy
from desed_task.errors import FetchError

LOG = logging.getLogger(__name__)
_ZENODO = "https://zenodo.org/records/3987831/files"
_HUB = "https://huggingface.co/MIT/ast-finetuned-audioset-10-10-0.4593/resolve/f826b80d28226b62986cc218e5cec390b1096902"
# Who waits for a training to begin shall not wait for minutes where there is no network.
_POLICY = RetryPolicy(attempts=3)


@dataclass(frozen=True)
class PublishedWeights:
    """A published file: its name in a folder of weights, where it is had, the name of one that may stand for it."""

    name: str
    remote: RemoteFile
    stand_in: str | None = None


def _pann(name: str, size: int, sha256: str) -> PublishedWeights:
    return PublishedWeights(name, RemoteFile(f"{_ZENODO}/{quote(name)}?download=1", size, f"sha256:{sha256}"))


CNN14_16K = _pann(
    "Cnn14_16k_mAP=0.438.pth", 358_668_570, "e2ee543a27919542c2ea03eabaa70b24dcd4e6c8e05621de6b67a94e4c5058e6"
)
CNN14 = _pann("Cnn14_mAP=0.431.pth", 327_428_481, "0dc499e40e9761ef5ea061ffc77697697f277f6a960894903df3ada000e34b31")
CNN14_DECISION_LEVEL_MAX = _pann(
    "Cnn14_DecisionLevelMax_mAP=0.385.pth",
    327_428_481,
    "dd3b4043a87d4ec13df8082c0fcfee3fb5084151808e47e060987a95eabdd142",
)
AST_AUDIOSET = PublishedWeights(
    "ast-finetuned-audioset-10-10-0.4593.safetensors",
    RemoteFile(
        f"{_HUB}/model.safetensors",
        346_404_948,
        "sha256:ae0c1e2ad4e1381d851fa9bf298ba13ebc9c5a914cdee2dbe427a6583869924d",
    ),
    stand_in="audioset_10_10_0.4593.pth",
)


def fetch_weights(published: PublishedWeights, folder: Path, policy: RetryPolicy = _POLICY) -> Path:
    """The published file, in `folder`: fetched where it is not there yet, verified in any case.

    FetchError, in one sentence with address, size and the place to put it, where it cannot be had; calling again goes
    on where a broken transfer ended. Several processes that ask at once fetch it once.
    """
    if published.stand_in is not None and (folder / published.stand_in).is_file():
        return folder / published.stand_in
    target = folder / published.name
    if target.exists():  # no lock: the folder may be one that cannot be written
        fetch_file(published.remote, target, policy)
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{published.name}.lock"):
            LOG.info("%s: fetched from %s", target, published.remote.url)
            fetch_file(published.remote, target, policy)
    except OSError as error:
        raise FetchError(
            f"{folder}: cannot be written ({error.strerror}); name another weights_dir, or put {published.name} there"
        ) from None
    return target
