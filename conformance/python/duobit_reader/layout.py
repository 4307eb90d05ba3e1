"""Step 5 of section 14: every segment, plane and asset is in the one place that section 4 leaves it."""

from __future__ import annotations

from typing import Any, NamedTuple

from .errors import Report
from .preamble import Preamble
from .rules import check_name
from .schema import LIMITS, MAX_SAFE, align

Tree = dict[str, Any]


class Item(NamedTuple):
    """An asset or a plane in a segment; `tensor` and `plane` are None for an asset."""

    where: str
    segment: int
    offset: int
    length: int
    tensor: Tree | None
    role: int


def list_items(model: Tree) -> list[Item]:
    """Assets, then planes in the order of tensors and planes."""
    items = [
        Item(f"assets[{index}]", asset["segment"], asset["offset"], asset["length"], None, asset["role"])
        for index, asset in enumerate(model["assets"])
    ]
    for tensor in model["tensors"]:
        for index, plane in enumerate(tensor["planes"]):
            where = f"tensor {tensor['name'][:255]}.planes[{index}]"
            items.append(Item(where, plane["segment"], plane["offset"], plane["length"], tensor, plane["role"]))
    return items


def check_layout(preamble: Preamble, model: Tree, size: int, report: Report) -> None:
    """`size` is that of the source."""
    segments = model["segments"]
    if not segments:
        report.add("SEGMENT_LAYOUT", "segments", "there is no segment")  # LAY-7
    file_length = preamble.file_length if preamble.file_length <= MAX_SAFE else size
    _check_segments(preamble, file_length, model, report)
    items = list_items(model)
    for item in items:
        if item.segment >= len(segments):
            report.add("PLANE_RANGE", item.where, f"segment {item.segment} of {len(segments)}")  # SEG-5
    inside: list[list[Item]] = [[] for _ in segments]
    for item in items:
        if item.segment < len(segments):
            inside[item.segment].append(item)
    for index, segment in enumerate(segments):
        _check_items(index, segment, sorted(inside[index], key=lambda item: item.offset), report)


def _check_segments(preamble: Preamble, file_length: int, model: Tree, report: Report) -> None:
    """LAY-4, LAY-6, LAY-7, SEG-1, SEG-2, SHD-5. Offsets of the header file count from the segment base (SEG-3)."""
    files = model["data_files"]
    names: set[str] = set()
    current, end = 0, 0

    def check_end() -> None:
        if current == 0:
            if preamble.base + end != file_length:
                message = f"segments end at byte {preamble.base + end}, the file at {file_length}"
                report.add("FILE_LENGTH", "bytes 32 to 39", message)
        elif end != files[current - 1]["length"]:
            message = f"segments end at byte {end}, the file at {files[current - 1]['length']}"
            report.add("DATA_FILE_LAYOUT", f"data_files[{current - 1}]", message)

    for index, segment in enumerate(model["segments"]):
        where = f"segments[{index}]"
        check_name(segment["name"], f"{where}.name", report)
        if segment["name"] in names:
            report.add("SEGMENT_DUPLICATE", where, f"{segment['name'][:255]!r} was before")
        names.add(segment["name"])
        if segment["file"] != current:
            if segment["file"] != current + 1 or segment["file"] > len(files):
                message = f"file {segment['file']} behind file {current}, {len(files)} data files"
                report.add("DATA_FILE_LAYOUT", where, message)
                return
            check_end()
            current, end = segment["file"], 0
        begin = align(end, LIMITS["segmentAlignment"])
        if segment["offset"] != begin:
            report.add("SEGMENT_LAYOUT", where, f"begins at {segment['offset']}, not at {begin}")
        if segment["length"] == 0:
            report.add("SEGMENT_LAYOUT", where, "is empty")
        end = segment["offset"] + segment["length"]
    check_end()
    if current < len(files):
        report.add("DATA_FILE_LAYOUT", f"data_files[{current}]", "has no segment")


def _check_items(index: int, segment: Tree, items: list[Item], report: Report) -> None:
    """LAY-8, LAY-9."""
    end, total = 0, segment["length"]
    for item in items:
        if not (item.length <= total and item.offset <= total - item.length):  # VAL-5
            message = f"bytes {item.offset} to {item.offset + item.length} of segment {index}, which has {total}"
            report.add("PLANE_RANGE", item.where, message)
            return
        begin = align(end, LIMITS["planeAlignment"])
        if item.offset != begin:
            code = "PLANE_OVERLAP" if item.offset < end else "PLANE_LAYOUT"
            report.add(code, item.where, f"begins at {item.offset} of segment {index}, not at {begin}")
        end = item.offset + item.length
    if end != total:
        report.add("SEGMENT_LAYOUT", f"segments[{index}]", f"its parts end at {end}, it ends at {total}")
