"""Values of tensors from their planes: the formulas and the checks of section 9.

Decoding computes in double precision, in which all sums and products of section 9 are exact, and rounds once (ENC-1).
Written for clearness, not for speed: one Python operation a weight.
"""

from __future__ import annotations

import array
import struct
import sys
from typing import Any, Iterator, NamedTuple

from . import encodings as enc

Tree = dict[str, Any]
Planes = dict[int, bytes]


class Flaw(NamedTuple):
    """The first problem in a plane: byte in the plane, code, facts."""

    byte: int
    code: str
    message: str


def _array(kind: str, data: bytes) -> array.array:
    values = array.array(kind)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _f16(data: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(data) // 2}e", data)


def _rows(data: bytes, count: int) -> list[int]:
    """Each row as one integer, so that bit or byte k of a row is bit or byte k of the number."""
    stride = len(data) // count
    return [int.from_bytes(data[n * stride : (n + 1) * stride], "little") for n in range(count)]


# Decoding.


def decode_values(tensor: Tree, planes: Planes) -> Iterator[float]:
    """The values of a tensor of a known encoding in row-major order, before rounding; `planes` by role."""
    return _DECODERS[tensor["encoding"]](tensor, planes)


def values_bytes(tensor: Tree, planes: Planes) -> bytes:
    """The values as f32, little-endian; the rounding of ENC-1 happens here."""
    return b"".join(struct.pack("<f", value) for value in decode_values(tensor, planes))


def _decode_dense(tensor: Tree, planes: Planes) -> Iterator[float]:
    data = planes[enc.DENSE]  # ENC-DENSE-1
    if tensor["encoding"] == enc.F32:
        yield from struct.unpack(f"<{len(data) // 4}f", data)
    elif tensor["encoding"] == enc.F16:
        yield from _f16(data)
    else:
        for number in _array("H", data):
            yield struct.unpack("<f", struct.pack("<I", number << 16))[0]


def _decode_codes(tensor: Tree, planes: Planes) -> Iterator[float]:
    """ENC-INT8-4, ENC-INT4-3."""
    rows, columns = tensor["shape"]
    size = tensor["group_size"]
    groups = enc.up(columns, size)
    stride = enc.code_stride(tensor["encoding"], columns)
    codes, scales = planes[enc.CODES], _f16(planes[enc.SCALE])
    for n in range(rows):
        row = codes[n * stride : (n + 1) * stride]
        for k in range(columns):
            if tensor["encoding"] == enc.INT8:
                code = row[k] - 256 if row[k] > 127 else row[k]
            else:
                half = row[k // 2] >> 4 if k % 2 else row[k // 2] & 15
                code = half - 16 if half > 7 else half
            yield scales[n * groups + k // size] * code


def _decode_w11(tensor: Tree, planes: Planes) -> Iterator[float]:
    """ENC-W11-5, and for w11_outlier ENC-OUT-6, unless its values are those of a rotated input (OUTL-3)."""
    rows, columns = tensor["shape"]
    size = tensor["group_size"]
    groups = enc.up(columns, size)
    signs, bits = _rows(planes[enc.SIGN], rows), _rows(planes[enc.BITMAP], rows)
    alpha = _f16(planes[enc.ALPHA])
    mu = _f16(planes[enc.MU]) if tensor["flags"] & 1 else (0.0,) * len(alpha)
    outliers: dict[int, int] = {}
    codes, scales, stride = b"", (0.0,), 0
    if tensor["encoding"] == enc.W11_OUTLIER and tensor["input_rotation"] == 0:
        outliers = {k: c for c, k in enumerate(_array("I", planes[enc.OUTLIER_INDEX]))}
        codes, scales = planes[enc.OUTLIER_CODES], _f16(planes[enc.OUTLIER_SCALE])
        stride = 4 * enc.up(tensor["outlier_columns"], 4)
    for n in range(rows):
        for k in range(columns):
            if k in outliers:
                code = codes[n * stride + outliers[k]]
                yield scales[n] * (code - 256 if code > 127 else code)
            else:
                at = 2 * (n * groups + k // size) + (bits[n] >> k & 1)
                yield mu[at] + alpha[at] * (2 * (signs[n] >> k & 1) - 1)


def _decode_partial_binary(tensor: Tree, planes: Planes) -> Iterator[float]:
    """ENC-PB-8."""
    rows, columns = tensor["shape"]
    size = tensor["group_size"]
    groups = enc.up(columns, size)
    signs, masks = _rows(planes[enc.SIGN], rows), _rows(planes[enc.SALIENT_MASK], rows)
    alpha, mu = _f16(planes[enc.ALPHA]), _f16(planes[enc.MU])
    codes, scales = iter(planes[enc.SALIENT_CODES]), _f16(planes[enc.SALIENT_SCALE])
    for n in range(rows):
        for k in range(columns):
            if masks[n] >> k & 1:
                yield scales[2 * n + 1] + scales[2 * n] * next(codes)
            else:
                at = n * groups + k // size
                yield mu[at] + alpha[at] * (2 * (signs[n] >> k & 1) - 1)


_DECODERS = {
    enc.F32: _decode_dense,
    enc.F16: _decode_dense,
    enc.BF16: _decode_dense,
    enc.INT8: _decode_codes,
    enc.INT4: _decode_codes,
    enc.W11: _decode_w11,
    enc.W11_OUTLIER: _decode_w11,
    enc.PARTIAL_BINARY: _decode_partial_binary,
}


# Checking.


def find_flaw(tensor: Tree, role: int, data: bytes) -> Flaw | None:
    """The first problem of a plane in the order of its bytes, or None: what can be seen without other planes."""
    encoding = tensor["encoding"]
    if role == enc.DENSE:
        return _find_not_finite(data, encoding)
    rows, columns = tensor["shape"]
    if role in (enc.SCALE, enc.ALPHA, enc.MU, enc.OUTLIER_SCALE, enc.SALIENT_SCALE):
        return _find_not_finite(data, enc.F16)
    if role in (enc.SIGN, enc.BITMAP, enc.SALIENT_MASK):
        return _find_bits(data, columns, [-1 << columns] * rows)  # ENC-W11-2
    if role == enc.CODES and encoding == enc.INT4:
        return _find_bits(data, columns, [-1 << 4 * columns] * rows)  # ENC-INT4-2
    if role in (enc.CODES, enc.OUTLIER_CODES):
        return _find_codes(data, rows, columns if role == enc.CODES else tensor["outlier_columns"])
    if role == enc.SALIENT_CODES:
        behind = tensor["salient_count"]  # ENC-PB-5
        byte = next((at for at in range(behind, len(data)) if data[at]), None)
        return None if byte is None else Flaw(byte, "PADDING_NONZERO", "byte behind the last code")
    return None


def find_contradiction(tensor: Tree, planes: Planes) -> Flaw | None:
    """The first problem between the planes of a tensor, in the order of step 6."""
    rows, columns = tensor["shape"]
    if tensor["encoding"] == enc.W11_OUTLIER:
        flaw = _find_index(planes[enc.OUTLIER_INDEX], columns)
        if flaw is not None:
            return flaw
        if tensor["input_rotation"] != 0:
            return None  # OUTL-3
        mask = sum(1 << k for k in _array("I", planes[enc.OUTLIER_INDEX]))  # ENC-OUT-2
        flaws = (_find_bits(planes[role], columns, [mask] * rows, "OUTLIER_BITS") for role in (enc.SIGN, enc.BITMAP))
        return next((flaw for flaw in flaws if flaw is not None), None)
    return _find_salient(tensor, planes)


def _find_not_finite(data: bytes, encoding: int) -> Flaw | None:
    """ENC-4: all exponent bits set is infinity or NaN."""
    kind, ones = {enc.F32: ("I", 0x7F800000), enc.F16: ("H", 0x7C00), enc.BF16: ("H", 0x7F80)}[encoding]
    for index, number in enumerate(_array(kind, data)):
        if number & ones == ones:
            size = 4 if kind == "I" else 2
            return Flaw(index * size, "VALUE_NOT_FINITE", f"number {index} is NaN or infinite")
    return None


def _find_codes(data: bytes, rows: int, columns: int) -> Flaw | None:
    """ENC-INT8-1, ENC-INT8-2, ENC-OUT-4."""
    stride = 4 * enc.up(columns, 4)
    for n in range(rows):
        row = data[n * stride : (n + 1) * stride]
        bad = row.find(0x80, 0, columns)
        if bad >= 0:
            return Flaw(n * stride + bad, "CODE_RANGE", f"code -128 in row {n}")
        for k in range(columns, stride):
            if row[k]:
                return Flaw(n * stride + k, "PADDING_NONZERO", f"padding of row {n}")
    return None


def _find_bits(data: bytes, columns: int, forbidden: list[int], code: str = "PADDING_NONZERO") -> Flaw | None:
    """The first bit that is set in the data and in `forbidden`, one mask a row."""
    stride = len(data) // len(forbidden)
    for n, row in enumerate(_rows(data, len(forbidden))):
        wrong = row & forbidden[n]
        if wrong:
            bit = (wrong & -wrong).bit_length() - 1
            return Flaw(n * stride + bit // 8, code, f"bit {bit} of row {n} is set; {columns} columns")
    return None


def _find_index(data: bytes, columns: int) -> Flaw | None:
    """ENC-OUT-3."""
    before = -1
    for c, k in enumerate(_array("I", data)):
        if k <= before or k >= columns:
            return Flaw(4 * c, "OUTLIER_INDEX", f"entry {c} is {k}, behind {before}, of {columns} columns")
        before = k
    return None


def _find_salient(tensor: Tree, planes: Planes) -> Flaw | None:
    """Row by row the offset of the row (ENC-PB-7) and its signs (ENC-PB-2), then the last offset and ENC-PB-4."""
    rows, columns = tensor["shape"]
    masks, signs = _rows(planes[enc.SALIENT_MASK], rows), _rows(planes[enc.SIGN], rows)
    offsets = _array("I", planes[enc.SALIENT_OFFSETS])
    stride = enc.bit_stride(columns)
    total = 0
    for n, offset in enumerate(offsets):
        if offset != total:
            return Flaw(4 * n, "SALIENT_OFFSETS", f"entry {n} is {offset}, the mask has {total} bits set before")
        if n < rows:
            if masks[n] & signs[n]:
                return Flaw(n * stride, "SALIENT_BITS", f"a sign bit of row {n} is set where the mask is")
            total += masks[n].bit_count()
    if total != tensor["salient_count"]:
        message = f"{total} mask bits are set, salient_count is {tensor['salient_count']}"
        return Flaw(4 * rows, "SALIENT_OFFSETS", message)
    return None
