"""The schema and the limits (SCH-1, LIM-2), read from schemas/duobit.fbs and schemas/limits.json.

Both belong to the specification, so they are read and not repeated. Only the part of the schema language that
duobit.fbs uses is understood; anything else is an error here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

SCHEMAS = Path(__file__).resolve().parents[3] / "schemas"
SIZES = {"bool": 1, "ubyte": 1, "ushort": 2, "uint": 4, "ulong": 8, "double": 8}
MAX_SAFE = 2**53 - 1


class Field(NamedTuple):
    """One field of a table. `kind` is scalar, enum, string, table or vector; `type` is that of a vector's elements."""

    name: str
    id: int
    kind: str
    type: str
    size: int
    required: bool
    nullable: bool


def _without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*", "", text)


def _parse(text: str) -> tuple[dict[str, list[Field]], dict[str, dict[int, str]], str]:
    text = _without_comments(text)
    enums: dict[str, dict[int, str]] = {}
    for name, base, body in re.findall(r"enum\s+(\w+)\s*:\s*(\w+)\s*\{([^}]*)\}", text):
        if base != "ushort":
            raise ValueError(f"enum {name} has type {base}")
        enums[name] = {int(n): v for v, n in re.findall(r"(\w+)\s*=\s*(\d+)", body)}
    bodies = re.findall(r"table\s+(\w+)\s*\{([^}]*)\}", text)
    names = {name for name, _ in bodies}
    tables: dict[str, list[Field]] = {}
    for table, body in bodies:
        fields = []
        for line in filter(None, (part.strip() for part in body.split(";"))):
            match = re.fullmatch(r"(\w+)\s*:\s*(\[?)(\w+)\]?\s*(=\s*null)?\s*\(id:\s*(\d+)(,\s*required)?\)", line)
            if match is None:
                raise ValueError(f"field not understood in {table}: {line}")
            name, vector, kind_name, null, number, required = match.groups()
            if vector:
                kind = "vector"
                size = SIZES.get(kind_name, 4)
            elif kind_name in enums:
                kind, size = "enum", 2
            elif kind_name in SIZES:
                kind, size = "scalar", SIZES[kind_name]
            else:
                kind, size = ("string" if kind_name == "string" else "table"), 4
            known = kind_name in SIZES or kind_name in enums or kind_name == "string" or kind_name in names
            if not known:
                raise ValueError(f"type not understood in {table}: {line}")
            fields.append(Field(name, int(number), kind, kind_name, size, bool(required), bool(null)))
        fields.sort(key=lambda field: field.id)
        if [field.id for field in fields] != list(range(len(fields))):
            raise ValueError(f"field ids of {table} have gaps")
        tables[table] = fields
    root = re.search(r"root_type\s+(\w+)\s*;", text)
    if root is None:
        raise ValueError("no root_type")
    return tables, enums, root.group(1)


TABLES, ENUMS, ROOT = _parse((SCHEMAS / "duobit.fbs").read_text(encoding="utf-8"))
LIMITS: dict[str, int] = json.loads((SCHEMAS / "limits.json").read_text(encoding="utf-8"))


def align(value: int, unit: int) -> int:
    """The least multiple of `unit` that is not below `value` (section 2)."""
    return -(-value // unit) * unit
