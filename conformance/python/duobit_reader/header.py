"""The header as a tree of Python values under the schema's names, read with flatbuffers; JSON form (appendix A).

A table is a dict, an enum its number, [ubyte] bytes, another vector a list, an absent optional None. Only for headers
that the verifier has passed: the package's tables trust their bytes.
"""

from __future__ import annotations

from typing import Any

from flatbuffers import number_types
from flatbuffers.table import Table

from .preamble import Preamble
from .schema import ENUMS, ROOT, TABLES, Field

Tree = dict[str, Any]
FLAGS = {
    "bool": number_types.BoolFlags,
    "ubyte": number_types.Uint8Flags,
    "ushort": number_types.Uint16Flags,
    "uint": number_types.Uint32Flags,
    "ulong": number_types.Uint64Flags,
    "double": number_types.Float64Flags,
}


def decode_header(header: bytes) -> Tree:
    """The root table of a verified header."""
    return _table(header, int.from_bytes(header[:4], "little"), ROOT)


def _table(header: bytes, place: int, name: str) -> Tree:
    table = Table(header, place)
    return {field.name: _field(table, field) for field in TABLES[name]}


def _field(table: Table, field: Field) -> Any:
    offset = table.Offset(4 + 2 * field.id)
    if field.kind in ("scalar", "enum"):
        if offset == 0:
            return None if field.nullable else False if field.type == "bool" else 0.0 if field.type == "double" else 0
        flags = FLAGS["ushort" if field.kind == "enum" else field.type]
        return table.Get(flags, table.Pos + offset)
    if field.kind == "string":
        return None if offset == 0 else table.String(table.Pos + offset).decode("utf-8")
    if field.kind == "table":
        return None if offset == 0 else _table(table.Bytes, table.Indirect(table.Pos + offset), field.type)
    if offset == 0:
        return None if field.type == "ubyte" else []
    begin, count = table.Vector(offset), table.VectorLen(offset)
    if field.type == "ubyte":
        return bytes(table.Bytes[begin : begin + count])
    places = range(begin, begin + count * field.size, field.size)
    if field.type in TABLES:
        return [_table(table.Bytes, table.Indirect(place), field.type) for place in places]
    return [table.Get(FLAGS[field.type], place) for place in places]


def manifest_json(preamble: Preamble, model: Tree) -> Tree:
    """Appendix A."""
    return {
        "format_version": {"major": preamble.major, "minor": preamble.minor},
        "incompatible_features": str(preamble.incompatible),
        "compatible_features": str(preamble.compatible),
        "header_length": preamble.header_length,
        "segment_base": str(preamble.segment_base),
        "file_length": str(preamble.file_length),
        "model": _json_table(model, ROOT),
    }


def _json_table(tree: Tree, name: str) -> Tree:
    return {field.name: _json_value(tree[field.name], field) for field in TABLES[name]}


def _json_value(value: Any, field: Field) -> Any:
    if value is None:
        return None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_json_element(element, field) for element in value]
    return _json_element(value, field)


def _json_element(value: Any, field: Field) -> Any:
    if field.type in TABLES:
        return _json_table(value, field.type)
    if field.type in ENUMS:
        return ENUMS[field.type].get(value, value)
    if field.type == "ulong":
        return str(value)
    return value
