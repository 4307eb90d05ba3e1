"""The preamble and the header hash: section 5, steps 1 and 2 of section 14."""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from .errors import Report
from .schema import LIMITS, align

MAGIC = b"DUO1" + bytes.fromhex("8944554F0D0A1A0A")
DATA_FILES, INPUT_ROTATIONS = 1, 2  # incompatible features
KNOWN_INCOMPATIBLE = DATA_FILES | INPUT_ROTATIONS
HASH = slice(56, 88)


class Preamble(NamedTuple):
    """Bytes 8 to 127 of the file. `base` is align(H, 16384), whatever the file says."""

    major: int
    minor: int
    header_length: int
    segment_base: int
    file_length: int
    incompatible: int
    compatible: int
    header_sha256: bytes

    @property
    def base(self) -> int:
        return align(self.header_length, LIMITS["segmentAlignment"])


def read_preamble(source, report: Report) -> Preamble:
    """Step 1 (PRE-1 to PRE-13)."""
    size = source.size
    data = source.read(0, 128)
    if len(data) < 128:
        report.stop("FILE_TOO_SHORT", "bytes 0 to 127", f"the file has {size} bytes; a preamble has 128")
    if data[4:16] != MAGIC:
        report.stop("CONTAINER_MAGIC", "bytes 4 to 15", f"{data[4:16].hex()} is not {MAGIC.hex()}")
    preamble = Preamble(*struct.unpack_from("<HHIQQQQ", data, 16), data[HASH])
    if preamble.major != LIMITS["formatMajor"]:
        report.stop("VERSION_UNSUPPORTED", "bytes 16 to 17", f"major version {preamble.major}")
    unknown = preamble.incompatible & ~KNOWN_INCOMPATIBLE
    if unknown:
        report.stop("FEATURE_UNSUPPORTED", "bytes 40 to 47", f"unknown incompatible features {unknown:#x}")
    if any(data[88:128]):
        report.add("PREAMBLE_RESERVED", "bytes 88 to 127", "reserved bytes are not zero")
    if not LIMITS["preambleBytes"] < preamble.header_length <= LIMITS["maxHeaderBytes"]:
        report.stop("HEADER_LENGTH", "bytes 20 to 23", f"header length {preamble.header_length}")
    if preamble.header_length > size:
        report.stop("FILE_TRUNCATED", "bytes 20 to 23", f"header of {preamble.header_length} bytes, file of {size}")
    if preamble.segment_base != preamble.base:
        report.add("SEGMENT_BASE", "bytes 24 to 31", f"{preamble.segment_base} is not {preamble.base}")
    if preamble.file_length > size:
        report.add("FILE_TRUNCATED", "bytes 32 to 39", f"{preamble.file_length} bytes expected, {size} there")
    if preamble.file_length < size:
        report.add("FILE_TRAILING", "bytes 32 to 39", f"{preamble.file_length} bytes expected, {size} there")
    return preamble


def read_header(source, preamble: Preamble, report: Report) -> bytes:
    """Step 2: padding behind the header (LAY-3), header hash (PRE-12, INT-1). Gives just bytes 0 to H - 1 (STR-2)."""
    length = preamble.header_length
    header = source.read(0, length)
    if any(source.read(length, preamble.base - length)):
        report.add("PADDING_NONZERO", f"bytes {length} to {preamble.base - 1}", "padding behind the header is not zero")
    digest = header_hash(header)
    if digest != preamble.header_sha256:
        report.add("HEADER_HASH", "bytes 56 to 87", f"{preamble.header_sha256.hex()} is not {digest.hex()}")
    return header


def header_hash(header: bytes) -> bytes:
    """SHA-256 of the header with its hash field taken as zero (PRE-12)."""
    return hashlib.sha256(header[: HASH.start] + bytes(32) + header[HASH.stop :]).digest()
