"""The canonical form: section 17. A small FlatBuffers builder of its own, from the description there.

`check_canonical` is CAN-2. The buffer is built from its end, so the pieces are kept in the order of writing and each
place is the number of bytes used when the object was complete.
"""

from __future__ import annotations

import re
import struct
from typing import Any

from .errors import Report
from .layout import list_items
from .preamble import DATA_FILES, INPUT_ROTATIONS, Preamble, header_hash
from .rules import has_rotations
from .schema import LIMITS, ROOT, TABLES, Field, align

Tree = dict[str, Any]
FORMATS = {"bool": "<B", "ubyte": "<B", "ushort": "<H", "uint": "<I", "ulong": "<Q", "double": "<d"}
MODULES = (
    "input_layernorm self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj post_attention_layernorm "
    "mlp.gate_proj mlp.up_proj mlp.down_proj"
).split()
BLOCK = re.compile(r"model\.layers\.(0|[1-9][0-9]*)\.(.*)", re.S)


class Builder:
    """Writes from the end to the begin (CAN-5)."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.used = 0
        self.largest = 1
        self.vtables: dict[bytes, int] = {}

    def write(self, data: bytes) -> None:
        self.pieces.append(data)
        self.used += len(data)

    def pad(self, size: int, before: int) -> None:
        self.largest = max(self.largest, size)
        self.write(bytes(-(self.used + before) % size))

    def write_offset(self, target: int) -> None:
        """The distance from the offset's own place to an object that was complete when `target` bytes were used."""
        self.pad(4, 4)
        self.write(struct.pack("<I", self.used + 4 - target))

    def string(self, text: str) -> int:
        data = text.encode("utf-8")
        self.write(b"\0")
        self.pad(4, len(data))
        self.write(data)
        self.write(struct.pack("<I", len(data)))
        return self.used

    def vector(self, values: Any, field: Field) -> int:
        targets = [self.table(value, field.type) for value in values] if field.type in TABLES else None
        size = len(values) * field.size
        self.pad(4, size)
        self.pad(field.size, size)
        if targets is not None:
            for target in reversed(targets):
                self.write_offset(target)
        elif isinstance(values, bytes):
            self.write(values)
        else:
            self.write(b"".join(struct.pack(FORMATS[field.type], value) for value in values))
        self.write(struct.pack("<I", len(values)))
        return self.used

    def table(self, tree: Tree, name: str) -> int:
        present = {field.id: tree[field.name] for field in TABLES[name] if is_present(tree[field.name], field)}
        for field in TABLES[name]:
            if field.id in present and field.kind not in ("scalar", "enum"):
                value = present[field.id]
                if field.kind == "table":
                    present[field.id] = self.table(value, field.type)
                else:
                    present[field.id] = self.string(value) if field.kind == "string" else self.vector(value, field)
        begin = self.used
        places = {}
        for field in TABLES[name]:
            if field.id in present:
                if field.kind in ("scalar", "enum"):
                    self.pad(field.size, field.size)
                    self.write(
                        struct.pack(FORMATS["ushort" if field.kind == "enum" else field.type], present[field.id])
                    )
                else:
                    self.write_offset(present[field.id])
                places[field.id] = self.used
        self.pad(4, 4)
        place = self.used + 4
        entries = [place - places[number] if number in places else 0 for number in range(max(places, default=-1) + 1)]
        vtable = struct.pack(f"<{len(entries) + 2}H", 4 + 2 * len(entries), place - begin, *entries)
        where = self.vtables.get(vtable)
        self.write(struct.pack("<i", (place + len(vtable) if where is None else where) - place))
        if where is None:
            self.write(vtable)
            self.vtables[vtable] = self.used
        return place


def is_present(value: Any, field: Field) -> bool:
    """Absent: null, scalars that have their default value, empty vectors that are not required (CAN-4, CAN-5)."""
    if value is None:
        return False
    if field.kind in ("scalar", "enum"):
        return field.nullable or value != 0
    return field.kind != "vector" or field.required or field.type == "ubyte" or len(value) > 0


def encode_header(model: Tree, file_length: int) -> bytes:
    """Bytes 0 to H - 1 (CAN-5, CAN-6)."""
    builder = Builder()
    root = builder.table(model, ROOT)
    builder.pad(builder.largest, 8)
    builder.write(b"DUO1")
    builder.write(struct.pack("<I", builder.used + 4 - root + 120))
    body = b"".join(reversed(builder.pieces))
    length = len(body) + 120
    base = align(length, LIMITS["segmentAlignment"])
    rotated = has_rotations(model)
    major, minor = LIMITS["formatMajor"], int(rotated)
    features = (DATA_FILES if model["data_files"] else 0) | (INPUT_ROTATIONS if rotated else 0)
    numbers = struct.pack("<HHIQQQQ", major, minor, length, base, file_length, features, 0)
    magic = bytes.fromhex("8944554F0D0A1A0A")
    header = body[:8] + magic + numbers + bytes(72) + body[8:]
    return header[:56] + header_hash(header) + header[88:]


def segment_of(name: str) -> tuple[int, int, str]:
    """Order and name of the segment of a tensor (CAN-3)."""
    if name.startswith("model.embed_tokens."):
        return 1, 0, "embedding"
    match = BLOCK.fullmatch(name)
    if match is not None and "." in match[2]:
        return 2, int(match[1]), f"block.{match[1]}"
    if name.startswith(("model.norm.", "lm_head.")):
        return 3, 0, "head"
    return 4, 0, "other"


def order_in_segment(name: str) -> tuple[int, int, str]:
    """Module in the order of section 8.5, weight before bias, name (CAN-3)."""
    module, _, part = name.rpartition(".")
    match = BLOCK.fullmatch(module)
    known = ["model.embed_tokens", *MODULES, "model.norm", "lm_head"]
    module = match[2] if match is not None else module
    if module not in known or part not in ("weight", "bias"):
        return len(known), 0, name
    return known.index(module), int(part == "bias"), name


def check_canonical(preamble: Preamble, model: Tree, header: bytes, report: Report) -> None:
    """For a file without problems, of this minor version."""
    if encode_header(model, preamble.file_length) != header:
        report.add("CANONICAL_HEADER", "header", "the header is not what encoding its content gives")
    names = [] if not model["assets"] else [(0, 0, "assets")]
    names += sorted({segment_of(tensor["name"]) for tensor in model["tensors"] if tensor["planes"]})
    if [segment["name"] for segment in model["segments"]] != [name for _, _, name in names]:
        report.add("CANONICAL_LAYOUT", "segments", f"the names are not {[name for _, _, name in names]}")
        return
    index = {name: number for number, name in enumerate(names)}
    # Python's sort keeps the order of equal keys: that of roles for assets, that of planes in a tensor.
    wanted = sorted(
        (item for item in list_items(model)),
        key=lambda item: (
            (0, (0, 0, ""))
            if item.tensor is None
            else (index[segment_of(item.tensor["name"])], order_in_segment(item.tensor["name"]))
        ),
    )
    actual = sorted(wanted, key=lambda item: (item.segment, item.offset))
    for one, other in zip(wanted, actual):
        if one is not other:
            report.add("CANONICAL_LAYOUT", other.where, f"stands where {one.where} belongs")
            return
