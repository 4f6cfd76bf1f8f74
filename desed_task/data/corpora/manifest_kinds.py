"""Which corpus a table of recordings is of, told by the table itself.

*.lmdb, a folder with data.mdb         an LMDB
files,labels,ext                       chunks of fsd50k-pytorch
{"data": [{"wav": ..., "labels": "/m/..."}]}, *_segments.csv      a list of AudioSet's kind
anything else, eval.csv of FSD50K too  a manifest (see `manifest`)
"""

from __future__ import annotations

import csv
from pathlib import Path

from desed_task.data.corpora.audioset import AudioSetOptions
from desed_task.data.corpora.chunks import COLUMNS, ChunksOptions
from desed_task.data.corpora.lmdb import LmdbOptions
from desed_task.data.corpora.manifest import ManifestOptions
from desed_task.errors import CorpusError

_LOOKED_AT = 1 << 16
_MIDS = ('"/m/', '"/t/', '"/g/')


def corpus_of_table(
    table: Path, root: Path | None = None, classes: Path | None = None, delimiter: str = ","
) -> AudioSetOptions | ChunksOptions | LmdbOptions | ManifestOptions:
    """root: the folder that the table's paths start from; classes: the table that says what its mids are called.

    delimiter: between the labels of a clip of an LMDB. CorpusError for a table that cannot be read.
    """
    if table.suffix.lower() == ".lmdb" or (table / "data.mdb").is_file():
        return LmdbOptions(name="lmdb", path=table, delimiter=delimiter, label_map=classes)
    beginning = _beginning(table)
    if table.suffix.lower() == ".json":
        if '"wav"' in beginning and (classes is not None or any(mid in beginning for mid in _MIDS)):
            return AudioSetOptions(name="audioset", table=table, root=root, classes=classes)
    elif beginning.startswith("#"):
        return AudioSetOptions(name="audioset", table=table, root=root, classes=classes)
    elif set(COLUMNS) <= {cell.strip() for cell in next(csv.reader(beginning.splitlines()[:1]), [])}:
        return ChunksOptions(name="chunks", table=table, root=root)
    return ManifestOptions(name="manifest", table=table, root=root, classes=classes)


def _beginning(table: Path) -> str:
    try:
        with table.open(encoding="utf-8-sig") as stream:
            return stream.read(_LOOKED_AT)
    except FileNotFoundError:
        raise CorpusError(f"{table}: no such table; correct the path, or fetch it") from None
    except UnicodeDecodeError:
        raise CorpusError(f"{table}: not a UTF-8 text table; fetch it again") from None
    except OSError as error:
        raise CorpusError(f"{table}: cannot be read ({error.strerror})") from None
