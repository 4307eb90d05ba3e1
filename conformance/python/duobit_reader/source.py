"""Files as sources of bytes, and data files beside them (SHD-6)."""

from __future__ import annotations

import os
from pathlib import Path


class Source:
    """A file that is read in ranges. Reading never gives more bytes than are there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "rb")
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Bytes from `offset`, at most `length` and at most what the file has (VAL-4)."""
        if offset >= self.size:
            return b""
        self._file.seek(offset)
        return self._file.read(min(length, self.size - offset))

    def beside(self, name: str) -> "Source | None":
        """The data file of that name in the same folder, or None. The caller has checked the name (SEC-2)."""
        path = self.path.parent / name
        return Source(path) if path.is_file() else None

    def close(self) -> None:
        self._file.close()


class MemorySource:
    """Bytes in memory, for tests with damaged files; it has nothing beside it but what it is given."""

    def __init__(self, data: bytes, others: dict[str, bytes] | None = None) -> None:
        self._data = data
        self._others = others or {}
        self.size = len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def beside(self, name: str) -> "MemorySource | None":
        return MemorySource(self._others[name]) if name in self._others else None

    def close(self) -> None:
        pass
