"""What DESED is made of and where it is published: the records of Zenodo, the sets of clips, their places below a root.

Names and numbers are those of generate_dcase_task4_2022.py and of the `desed` package 1.3.8.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A file of a Zenodo record."""

    record: int
    name: str


@dataclass(frozen=True)
class Clips:
    """Clips of one table: what they are called in missing_files, folder and table below the root."""

    name: str
    folder: str
    table: str


REAL_METADATA = Published(4639776, "audioset_metadata.tar.gz")
STRONG_TABLE = Published(6444477, "audioset_strong.tsv")
SYNTHETIC = Published(6026841, "dcase_synth.zip")

REAL_CLIPS = (
    Clips("weak", "audio/train/weak", "metadata/train/weak.tsv"),
    Clips("unlabel_in_domain", "audio/train/unlabel_in_domain", "metadata/train/unlabel_in_domain.tsv"),
    Clips("validation", "audio/validation/validation", "metadata/validation/validation.tsv"),
)
STRONG_CLIPS = Clips("strong_label_real", "audio/train/strong_label_real", "metadata/train/audioset_strong.tsv")
SYNTHETIC_CLIPS = tuple(
    Clips(
        f"synthetic21_{split}",
        f"audio/{split}/synthetic21_{split}/soundscapes",
        f"metadata/{split}/synthetic21_{split}/soundscapes.tsv",
    )
    for split in ("train", "validation")
)
