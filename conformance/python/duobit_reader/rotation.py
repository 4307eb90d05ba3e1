"""Input rotations: section 10.2 (ROT-4, ROT-5). Every sum, difference and product is rounded to f32."""

from __future__ import annotations

import math

from .activation import fl


def sign(k: int) -> int:
    """r(k), from the digits of k themselves: pairs of ones, overlapping ones too."""
    digits = f"{k:b}"
    pairs = sum(one == other == "1" for one, other in zip(digits, digits[1:]))
    return -1 if pairs % 2 else 1


def rotate_row(row: list[float]) -> list[float]:
    """x' of a row of f32 values."""
    size = len(row)
    span = 1 << (size.bit_length() - 1)
    row = [value * sign(k) for k, value in enumerate(row)]
    row = _transform(row[:span]) + row[span:]
    if span == size:
        return row
    row = [value * sign(5 * k) for k, value in enumerate(row)]
    return row[: size - span] + _transform(row[size - span :])


def _transform(values: list[float]) -> list[float]:
    values = list(values)
    half = 1
    while half < len(values):
        for first in range(len(values)):
            if first & half == 0:
                a, b = values[first], values[first + half]
                values[first], values[first + half] = fl(a + b), fl(a - b)
        half *= 2
    scale = fl(1 / math.sqrt(len(values)))
    return [fl(value * scale) for value in values]
