"""The content digest: section 19.1 (DIG-1 to DIG-8)."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from .data import DataFiles
from .schema import ENUMS, MAX_SAFE, TABLES

Tree = dict[str, Any]
LLAMA3 = 2


def _number(value: int | float) -> int | str:
    """DIG-3."""
    if float(value).is_integer() and abs(value) <= MAX_SAFE:
        return int(value)
    return struct.pack(">d", value).hex()


def _plain(value: Any) -> Any:
    """Numbers as DIG-3 writes them, absent members left out (DIG-4)."""
    if isinstance(value, dict):
        return {name: _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value if isinstance(value, (bool, str)) else _number(value)


def digest_text(value: Tree) -> str:
    """RFC 8785: member names here are ASCII, so that Python's order of them is that of the RFC (DIG-2)."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _parts(parts: list[Tree], files: DataFiles) -> list[Tree]:
    hashes = [{"role": part["role"], "sha256": hashlib.sha256(files.read_checked(part)).hexdigest()} for part in parts]
    return sorted(hashes, key=lambda part: part["role"])


def tensor_text(tensor: Tree, planes: list[Tree]) -> str:
    """DIG-7; `planes` are roles and hashes in order."""
    parameters = ("flags", "group_size", "outlier_columns", "salient_count")
    encoding = {"id": tensor["encoding"], **{name: tensor[name] for name in parameters if tensor[name] != 0}}
    text: Tree = {"encoding": encoding, "planes": planes, "shape": tensor["shape"]}
    activation = tensor["activation"]
    if activation is not None:
        text["activation"] = {name: activation[name] for name in ("bits", "clip_low", "clip_high")}
        if activation["knee"] is not None:
            text["activation"]["knee"] = {"code": activation["knee"], "slope_ratio": activation["slope_ratio"]}
        if activation["plane_scales"]:
            text["activation"]["plane_scales"] = activation["plane_scales"]
    if tensor["input_rotation"] != 0:
        text["input_rotation"] = tensor["input_rotation"]
    return digest_text(text)


def content_digest(model: Tree, files: DataFiles) -> str:
    """DIG-5. All data is read and checked."""
    architecture = {field.name: model["architecture"][field.name] for field in TABLES["Architecture"]}
    scaling = architecture["rope_scaling"]
    if scaling is not None:
        of_kind = {"factor": scaling["factor"]}
        if scaling["kind"] == LLAMA3:
            of_kind = {name: value for name, value in scaling.items() if name != "kind"}
        architecture["rope_scaling"] = {"kind": ENUMS["RopeScalingKind"][scaling["kind"]], **of_kind}
    tensors = [
        {"name": tensor["name"], "sha256": _sha256(tensor_text(tensor, _parts(tensor["planes"], files)))}
        for tensor in model["tensors"]
    ]
    text = {
        "architecture": architecture,
        "assets": _parts(model["assets"], files),
        "special_tokens": model["special_tokens"],
        "tensors": tensors,
        "type": "duobit-content",
        "version": 1,
    }
    return _sha256(digest_text(text))
