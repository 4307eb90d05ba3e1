"""Which planes a tensor has, and how long they are: section 9."""

from __future__ import annotations

from math import prod
from typing import Any

F32, F16, BF16, INT8, INT4, W11, W11_OUTLIER, PARTIAL_BINARY = range(1, 9)
KNOWN = range(F32, PARTIAL_BINARY + 1)
DENSE_BYTES = {F32: 4, F16: 2, BF16: 2}
GROUP_SIZES = (32, 64, 128, 256)

DENSE, CODES, SCALE, SIGN, BITMAP, ALPHA, MU = range(1, 8)
OUTLIER_INDEX, OUTLIER_CODES, OUTLIER_SCALE = range(8, 11)
SALIENT_MASK, SALIENT_CODES, SALIENT_SCALE, SALIENT_OFFSETS = range(11, 15)


def up(value: int, unit: int) -> int:
    """ceil(value / unit)."""
    return -(-value // unit)


def bit_stride(columns: int) -> int:
    """Bytes of a row of bits (ENC-W11-1)."""
    return 4 * up(columns, 32)


def code_stride(encoding: int, columns: int) -> int:
    """Bytes of a row of codes (ENC-INT8-1, ENC-INT4-1)."""
    return 4 * up(columns, 8 if encoding == INT4 else 4)


def list_planes(tensor: dict[str, Any]) -> list[tuple[int, int]]:
    """Role and length of every plane, in order, of a tensor whose parameters hold (TEN-4, ENC-2)."""
    encoding, shape = tensor["encoding"], tensor["shape"]
    if encoding in DENSE_BYTES:
        return [(DENSE, DENSE_BYTES[encoding] * prod(shape))]
    rows, columns = shape
    groups = up(columns, tensor["group_size"])
    if encoding in (INT8, INT4):
        return [(CODES, rows * code_stride(encoding, columns)), (SCALE, 2 * rows * groups)]
    bits = rows * bit_stride(columns)
    if encoding == PARTIAL_BINARY:
        pairs = 2 * rows * groups
        salient = 4 * up(tensor["salient_count"], 4)
        return [
            (SIGN, bits),
            (ALPHA, pairs),
            (MU, pairs),
            (SALIENT_MASK, bits),
            (SALIENT_CODES, salient),
            (SALIENT_SCALE, 4 * rows),
            (SALIENT_OFFSETS, 4 * (rows + 1)),
        ]
    planes = [(SIGN, bits), (BITMAP, bits), (ALPHA, 4 * rows * groups)]
    if tensor["flags"] & 1:
        planes.append((MU, 4 * rows * groups))
    if encoding == W11_OUTLIER:
        count = tensor["outlier_columns"]
        planes += [(OUTLIER_INDEX, 4 * count), (OUTLIER_CODES, rows * 4 * up(count, 4)), (OUTLIER_SCALE, 2 * rows)]
    return planes
