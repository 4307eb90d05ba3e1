"""Activation quantizers: section 10.1 (ACT-7, ACT-8). Every step is rounded to f32; codes are compared exactly."""

from __future__ import annotations

import math
import struct
from fractions import Fraction
from typing import Any

Tree = dict[str, Any]
CODES = range(16)


def fl(value: float) -> float:
    """To f32, nearest, ties to even; beyond the range to infinity."""
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def ladder(quantizer: Tree) -> list[float]:
    """t(q) of the 16 codes."""
    knee, ratio, scales = quantizer["knee"], quantizer["slope_ratio"], quantizer["plane_scales"]
    if knee is not None:
        return [float(min(q, knee) + ratio * max(q - knee, 0)) for q in CODES]
    if not scales:
        return [float(q) for q in CODES]
    steps = []
    for q in CODES:
        total = 0.0
        for k, scale in enumerate(scales):
            total += scale * (q >> k & 1)
        steps.append(total)
    return steps


def quantize_row(row: list[float], quantizer: Tree) -> tuple[float, float, list[int]]:
    """lo, D and the codes of one row of f32 values."""
    steps = ladder(quantizer)
    nan = any(math.isnan(value) for value in row)
    least, most = (math.nan, math.nan) if nan else (min(row), max(row))
    lo = fl(fl(quantizer["clip_low"]) * least)
    span = fl(fl(fl(quantizer["clip_high"]) * most) - lo)
    if not math.isfinite(span):
        return math.nan, math.nan, [0] * len(row)
    step = fl(span / fl(steps[15])) if span > 0 else 0.0
    if step == 0:
        return lo, step, [0] * len(row)
    return lo, step, [_nearest(fl(fl(value - lo) / step), steps) for value in row]


def _nearest(value: float, steps: list[float]) -> int:
    if math.isinf(value):
        return (
            max(CODES, key=lambda q: (steps[q], -(q % 2), -q))
            if value > 0
            else min(CODES, key=lambda q: (steps[q], q % 2, q))
        )
    exact = Fraction(value)
    return min(CODES, key=lambda q: (abs(exact - Fraction(steps[q])), q % 2, q))


def decode_row(lo: float, step: float, codes: list[int], quantizer: Tree) -> list[float]:
    steps = ladder(quantizer)
    return [fl(lo + fl(step * fl(steps[code]))) for code in codes]
