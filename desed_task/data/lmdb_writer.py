"""An LMDB while it grows: what it holds already, and the transactions that go into it.

Every transaction leaves a file that another process can go on with. The map of the file, which LMDB wants to know
beforehand, is doubled whenever it is full.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from desed_task.audio.records import KEYS, LENGTH, close_lmdb, import_lmdb, open_lmdb
from desed_task.data.lmdb_index import HEADER, Index, Row, build_header, build_part, digest_of, part_key, read_index
from desed_task.errors import AudioError, CorpusError

LOG = logging.getLogger(__name__)


class LmdbWriter:
    """Adds records to a file; a context that closes it."""

    def __init__(self, path: Path, settings: Mapping[str, Any], map_size: int) -> None:
        """settings: of the packing, kept in the file. A file that is damaged is begun anew."""
        lmdb = import_lmdb(path)
        index = _read_before(path)
        self.settings_before = None if index is None else index.settings
        self.rows: list[Row] = [] if index is None else index.rows()
        self._parts = [] if index is None else list(index.parts)
        self._settings = settings
        self._full: type[Exception] = lmdb.MapFullError
        self._map_size = max(map_size, 2 * path.stat().st_size if path.is_file() else 0)
        # No locks of LMDB's own: the packing's says who writes, and no reader comes here.
        self._environment: Any = lmdb.open(str(path), subdir=False, map_size=self._map_size, lock=False, mode=0o644)

    def __enter__(self) -> LmdbWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.close()

    def write(self, batch: Sequence[tuple[Row, bytes]]) -> None:
        """Records and their rows, all or none."""
        part = build_part([row for row, _ in batch])
        values = {str(len(self.rows) + number).encode(): value for number, (_, value) in enumerate(batch)}
        values[part_key(len(self._parts))] = part
        values[HEADER] = build_header(self._settings, len(self._parts) + 1)
        self._put(values)
        self._parts.append(part)
        self.rows += [row for row, _ in batch]

    def finish(self) -> None:
        """What makes the file whole."""
        from msgpack import packb

        keys = [str(number).encode() for number in range(len(self.rows))]
        header = build_header(self._settings, len(self._parts), digest_of(self._parts))
        self._put({KEYS: packb(keys), LENGTH: packb(len(keys)), HEADER: header})

    def _put(self, values: Mapping[bytes, bytes]) -> None:
        while True:
            try:
                with self._environment.begin(write=True) as transaction:
                    for key, value in values.items():
                        transaction.put(key, value)
                return
            except self._full:
                self._map_size *= 2
                self._environment.set_mapsize(self._map_size)


def _read_before(path: Path) -> Index | None:
    """What an earlier packing finished; a file that tells nothing is removed."""
    if not path.is_file():
        return None
    try:
        with open_lmdb(path, anew=True).reading() as value_of:
            return read_index(value_of, path)
    except (AudioError, CorpusError) as error:
        LOG.warning("%s; packing it anew", str(error).partition(";")[0])
        path.unlink()
        return None
    finally:
        close_lmdb(path)
