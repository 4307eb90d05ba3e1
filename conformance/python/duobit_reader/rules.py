"""Step 4 of section 14: what the header says must be readable, and must mean something."""

from __future__ import annotations

import math
import re
from typing import Any, Callable, Iterator

from . import encodings as enc
from .errors import Report, Stop
from .preamble import DATA_FILES, INPUT_ROTATIONS, Preamble
from .schema import LIMITS, MAX_SAFE

Tree = dict[str, Any]
COUNTS = (
    ("tensors", "maxTensors"),
    ("segments", "maxSegments"),
    ("assets", "maxAssets"),
    ("data_files", "maxDataFiles"),
    ("metadata", "maxMetadataPairs"),
)
DATA_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")


def check_meaning(preamble: Preamble, model: Tree, report: Report) -> None:
    """Items 1 to 9, a stop after them when one was broken, then items 10 to 17."""
    before = len(report.problems)
    _check_counts(model, report)
    _check_kinds(model["architecture"], report)
    for index, asset in enumerate(model["assets"]):
        for name in ("offset", "length"):
            _check_safe(asset[name], f"assets[{index}].{name}", report)
    for tensor in model["tensors"]:
        _check_readable_tensor(tensor, report)
    _check_readable_segments(preamble, model, report)
    _check_readable_rest(model, report)
    if len(report.problems) > before:
        raise Stop

    if bool(preamble.incompatible & DATA_FILES) != bool(model["data_files"]):
        report.add("FEATURE_MISMATCH", "bytes 40 to 47", f"{len(model['data_files'])} data files")  # SHD-1
    if bool(preamble.incompatible & INPUT_ROTATIONS) != has_rotations(model):
        report.add("FEATURE_MISMATCH", "bytes 40 to 47", f"input rotations: {has_rotations(model)}")  # ROT-2
    _check_architecture(model["architecture"], report)
    _check_special_tokens(model, report)
    _check_assets(model["assets"], report)
    _check_tensors(model["tensors"], report)
    _check_needed(model, report)
    _check_data_file_names(model["data_files"], report)
    for index, pair in enumerate(model["metadata"]):
        check_name(pair["key"], f"metadata[{index}].key", report)


def has_rotations(model: Tree) -> bool:
    return any(tensor["input_rotation"] != 0 for tensor in model["tensors"])


def check_name(name: str, where: str, report: Report) -> None:
    """NAM-1."""
    if not (1 <= len(name) <= LIMITS["maxNameBytes"] and all(0x21 <= ord(c) <= 0x7E for c in name)):
        report.add("NAME_INVALID", where, f"{name[:80]!r} is not 1 to 255 bytes from 0x21 to 0x7E")


def is_data_file_name(name: str) -> bool:
    """SHD-2."""
    return DATA_FILE_NAME.fullmatch(name) is not None


def _check_safe(value: int, where: str, report: Report) -> bool:
    """GEN-2."""
    if value > MAX_SAFE:
        report.add("OFFSET_UNSAFE", where, f"{value} is above 2^53 - 1")
    return value <= MAX_SAFE


# Items 1 to 9: what can be read at all.


def _check_counts(model: Tree, report: Report) -> None:
    for name, limit in COUNTS:
        if len(model[name]) > LIMITS[limit]:
            report.stop("LIMIT_EXCEEDED", name, f"{len(model[name])}; the limit is {LIMITS[limit]}")
    eos = model["special_tokens"]["eos"]
    if len(eos) > LIMITS["maxEosTokens"]:
        report.stop("LIMIT_EXCEEDED", "special_tokens.eos", f"{len(eos)}; the limit is {LIMITS['maxEosTokens']}")


def _check_kinds(architecture: Tree, report: Report) -> None:
    scaling = architecture["rope_scaling"]
    if scaling is not None and scaling["kind"] not in (1, 2):
        report.add("ARCHITECTURE_UNSUPPORTED", "architecture.rope_scaling.kind", f"kind {scaling['kind']}")  # ARC-9
    if architecture["family"] not in ("llama", "mistral"):
        report.add("ARCHITECTURE_UNSUPPORTED", "architecture.family", f"{architecture['family'][:80]!r}")  # ARC-1


def _check_readable_tensor(tensor: Tree, report: Report) -> None:
    where = f"tensor {tensor['name'][:255]}"
    if len(tensor["shape"]) > LIMITS["maxRank"]:
        report.add("TENSOR_SHAPE", where, f"{len(tensor['shape'])} dimensions")  # TEN-2
    if len(tensor["planes"]) > LIMITS["maxPlanes"]:
        report.add("LIMIT_EXCEEDED", where, f"{len(tensor['planes'])} planes")
    safe = _check_safe(tensor["salient_count"], f"{where}.salient_count", report)
    _check_own_parameters(tensor, tensor["salient_count"] if safe else 0, where, report)
    for value in tensor["shape"][: LIMITS["maxRank"]]:
        _check_safe(value, f"{where}.shape", report)
    for index, plane in enumerate(tensor["planes"][: LIMITS["maxPlanes"]]):
        for name in ("offset", "length"):
            _check_safe(plane[name], f"{where}.planes[{index}].{name}", report)
    if tensor["activation"] is not None:
        _check_readable_activation(tensor["activation"], where, report)
    if tensor["input_rotation"] not in (0, 1):
        report.add("INPUT_ROTATION_UNSUPPORTED", where, f"input_rotation {tensor['input_rotation']}")  # ROT-1


def _check_readable_activation(activation: Tree, where: str, report: Report) -> None:
    if activation["scheme"] != 1 or activation["bits"] != 4:
        message = f"scheme {activation['scheme']} with {activation['bits']} bits"
        report.add("ACTIVATION_UNSUPPORTED", where, message)  # ACT-1
        return
    if activation["knee"] is None and activation["slope_ratio"] != 0:
        report.add("ACTIVATION_INVALID", where, "slope_ratio without knee")  # ACT-3
    if len(activation["plane_scales"]) not in (0, 4):
        report.add("ACTIVATION_INVALID", where, f"{len(activation['plane_scales'])} plane scales")  # ACT-4


def _check_own_parameters(tensor: Tree, salient: int, where: str, report: Report) -> None:
    """Parameters that the encoding does not have at all (ENC-5, ENC-8), or needs and lacks."""
    encoding = tensor["encoding"]
    if encoding not in enc.KNOWN:
        return
    flags = 1 if encoding in (enc.W11, enc.W11_OUTLIER) else 0
    outliers = tensor["outlier_columns"]
    wrong = None
    if tensor["flags"] & ~flags:
        wrong = f"flags {tensor['flags']:#x}"
    elif encoding in enc.DENSE_BYTES and tensor["group_size"] != 0:
        wrong = f"group_size {tensor['group_size']}"
    elif (encoding == enc.W11_OUTLIER) != (outliers != 0):
        wrong = f"outlier_columns {outliers}"
    elif (encoding == enc.PARTIAL_BINARY) != (salient != 0) or salient > 2**32 - 1:
        wrong = f"salient_count {salient}"
    if wrong is not None:
        report.add("ENCODING_PARAMETERS", where, f"{wrong} with encoding {encoding}")


def _check_readable_segments(preamble: Preamble, model: Tree, report: Report) -> None:
    for index, segment in enumerate(model["segments"]):
        where = f"segments[{index}]"
        base = preamble.base if segment["file"] == 0 else 0
        length = segment["length"] if _check_safe(segment["length"], f"{where}.length", report) else 0
        _check_safe(segment["offset"] + base, f"{where}.offset", report)
        expected = 32 * enc.up(length, LIMITS["chunkBytes"])
        if len(segment["chunk_hashes"]) != expected:
            message = f"{len(segment['chunk_hashes'])} bytes of hashes; {length} bytes need {expected}"
            report.add("SEGMENT_HASHES", where, message)  # SEG-4


def _check_readable_rest(model: Tree, report: Report) -> None:
    for index, file in enumerate(model["data_files"]):
        _check_safe(file["length"], f"data_files[{index}].length", report)
        if len(file["sha256"]) != 32:
            report.add("DATA_FILE_HASH", f"data_files[{index}].sha256", f"{len(file['sha256'])} bytes")  # SHD-3
    cache = model["kv_cache"]
    if cache is not None:  # KVC-2
        bits = cache["key_bits"] in (4, 8, 16) and cache["value_bits"] in (4, 8, 16)
        if not bits or cache["group_size"] not in (0, 32, 64, 128):
            report.add("KV_CACHE_INVALID", "kv_cache", str(cache))
    for name in ("source_sha256", "calibration_sha256"):  # PRV-1
        value = model["provenance"][name]
        if value is not None and len(value) != 32:
            report.add("PROVENANCE_HASH", f"provenance.{name}", f"{len(value)} bytes")
    keys = [pair["key"] for pair in model["metadata"]]
    for index in range(1, len(keys)):  # MET-1; code points and UTF-8 bytes sort alike
        if keys[index] <= keys[index - 1]:
            report.add("METADATA_ORDER", f"metadata[{index}]", f"{keys[index][:80]!r} is not behind the one before")


# Items 10 to 17: the rules of sections 8 to 12.


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _check_architecture(architecture: Tree, report: Report) -> None:
    def require(holds: bool, name: str) -> None:
        if not holds:
            report.add("ARCHITECTURE_INVALID", f"architecture.{name}", f"{name} is {architecture.get(name)}")

    sizes = (
        "vocabulary_size hidden_size intermediate_size block_count head_count kv_head_count head_size context_length"
    )
    for name in sizes.split():
        require(1 <= architecture[name] <= 2**31 - 1, name)  # ARC-3
    require(architecture["block_count"] <= LIMITS["maxSegments"] - 4, "block_count")  # ARC-4
    kv_heads = architecture["kv_head_count"]
    require(kv_heads == 0 or architecture["head_count"] % kv_heads == 0, "head_count")  # ARC-5
    require(architecture["head_size"] % 2 == 0, "head_size")  # ARC-6
    require(0 < architecture["norm_epsilon"] < 1, "norm_epsilon")  # ARC-7
    require(_positive(architecture["rope_theta"]), "rope_theta")  # ARC-8
    scaling = architecture["rope_scaling"]
    if scaling is not None:  # ARC-10
        require(_positive(scaling["factor"]), "rope_scaling")
        if scaling["kind"] == 2:
            for name in ("low_frequency_factor", "high_frequency_factor", "original_context_length"):
                require(_positive(scaling[name]), "rope_scaling")
    require(architecture["sliding_window"] is None or architecture["sliding_window"] >= 1, "sliding_window")  # ARC-11


def _check_special_tokens(model: Tree, report: Report) -> None:
    tokens, size = model["special_tokens"], model["architecture"]["vocabulary_size"]
    eos = tokens["eos"]
    for value in [tokens["bos"], *eos, tokens["pad"]]:
        if value is not None and value >= size:
            report.add("SPECIAL_TOKENS", "special_tokens", f"id {value} in a vocabulary of {size}")  # TOK-1
    if any(b <= a for a, b in zip(eos, eos[1:])):
        report.add("SPECIAL_TOKENS", "special_tokens.eos", "not strictly ascending")  # TOK-2
    if tokens["add_bos"] and tokens["bos"] is None:
        report.add("SPECIAL_TOKENS", "special_tokens.add_bos", "there is no bos")  # TOK-3


def _check_assets(assets: list[Tree], report: Report) -> None:
    before = -1
    for index, asset in enumerate(assets):
        where = f"assets[{index}]"
        if asset["role"] <= before:
            report.add("ASSET_ORDER", where, f"role {asset['role']} behind role {before}")  # AST-1
        before = asset["role"]
        if not 1 <= asset["length"] <= LIMITS["maxAssetBytes"]:
            report.add("ASSET_LENGTH", where, f"{asset['length']} bytes")  # AST-2
        check_name(asset["media_type"], f"{where}.media_type", report)


def _check_tensors(tensors: list[Tree], report: Report) -> None:
    before: str | None = None
    for tensor in tensors:
        name = tensor["name"]
        where = f"tensor {name[:255]}"
        check_name(name, where, report)
        if name == before:
            report.add("TENSOR_DUPLICATE", where, "the tensor before has this name")  # TEN-1
        elif before is not None and name < before:
            report.add("TENSOR_ORDER", where, f"stands behind {before[:255]!r}")
        before = name
        broken = next(_broken_tensor_rules(tensor), None)
        if broken is not None:
            report.add(broken[0], where, broken[1])
        if tensor["activation"] is not None:
            _check_activation(tensor, where, report)
        if tensor["input_rotation"] != 0:
            _check_input_rotation(tensor, where, report)


def _check_input_rotation(tensor: Tree, where: str, report: Report) -> None:
    """ROT-3."""
    shape = tensor["shape"]
    if len(shape) != 2 or shape[1] > 2**29:
        report.add("INPUT_ROTATION_INVALID", where, f"shape {shape}")
    if tensor["name"] in ("model.embed_tokens.weight", "lm_head.weight"):
        report.add("INPUT_ROTATION_INVALID", where, "embedding or head")


def _broken_tensor_rules(tensor: Tree) -> Iterator[tuple[str, str]]:
    """TEN-2, ENC-5 to ENC-10, TEN-4, in the order of item 14; only the first counts, as later ones need the earlier."""
    shape, encoding, planes = tensor["shape"], tensor["encoding"], tensor["planes"]
    if any(size < 1 for size in shape) or math.prod(shape) > MAX_SAFE:
        yield "TENSOR_SHAPE", f"shape {shape}"
    if encoding not in enc.KNOWN:
        if any(plane["length"] == 0 for plane in planes):
            yield "PLANE_LENGTH", "an empty plane"  # ENC-10
        return
    if encoding not in enc.DENSE_BYTES:
        if len(shape) != 2:
            yield "TENSOR_SHAPE", f"encoding {encoding} needs a matrix, not {shape}"  # ENC-7
        if tensor["group_size"] not in enc.GROUP_SIZES:
            yield "TENSOR_GROUP_SIZE", f"group_size {tensor['group_size']}"  # ENC-6
    if encoding == enc.W11_OUTLIER and tensor["outlier_columns"] > shape[1]:
        yield "ENCODING_PARAMETERS", f"{tensor['outlier_columns']} outlier columns of {shape[1]}"  # ENC-OUT-1
    if encoding == enc.PARTIAL_BINARY and tensor["salient_count"] > math.prod(shape):
        yield "ENCODING_PARAMETERS", f"{tensor['salient_count']} salient weights of {math.prod(shape)}"  # ENC-PB-1
    expected = enc.list_planes(tensor)
    if any(length > MAX_SAFE for _, length in expected):
        yield "TENSOR_SHAPE", f"shape {shape} needs planes above 2^53 - 1 bytes"
    roles = [plane["role"] for plane in planes]
    if roles != [role for role, _ in expected]:
        yield "PLANE_ROLES", f"planes {roles}, not {[role for role, _ in expected]}"
    for plane, (role, length) in zip(planes, expected):
        if plane["length"] != length:
            yield "PLANE_LENGTH", f"plane {role} has {plane['length']} bytes, not {length}"


def _check_activation(tensor: Tree, where: str, report: Report) -> None:
    activation = tensor["activation"]
    knee, ratio, scales = activation["knee"], activation["slope_ratio"], activation["plane_scales"]
    rules: list[tuple[Callable[[], bool], str]] = [
        (lambda: _positive(activation["clip_low"]) and _positive(activation["clip_high"]), "clips"),  # ACT-2
        (lambda: knee is None or (1 <= knee <= 14 and 2 <= ratio <= 8), "knee or slope_ratio"),  # ACT-3
        (lambda: all(map(_positive, scales)), "plane_scales"),  # ACT-4
        (lambda: knee is None or not scales, "knee and plane_scales together"),  # ACT-5
        (lambda: len(tensor["shape"]) == 2, "a quantizer on no matrix"),  # ACT-6
    ]
    for holds, what in rules:
        if not holds():
            report.add("ACTIVATION_INVALID", where, what)


def needed_tensors(architecture: Tree) -> Iterator[tuple[str, list[int]]]:
    """Names and shapes in the order of section 8.5."""
    d, f = architecture["hidden_size"], architecture["intermediate_size"]
    q = architecture["head_count"] * architecture["head_size"]
    k = architecture["kv_head_count"] * architecture["head_size"]
    v = architecture["vocabulary_size"]
    yield "model.embed_tokens.weight", [v, d]
    for block in range(architecture["block_count"]):
        prefix = f"model.layers.{block}."
        yield prefix + "input_layernorm.weight", [d]
        yield prefix + "self_attn.q_proj.weight", [q, d]
        yield prefix + "self_attn.k_proj.weight", [k, d]
        yield prefix + "self_attn.v_proj.weight", [k, d]
        yield prefix + "self_attn.o_proj.weight", [d, q]
        yield prefix + "post_attention_layernorm.weight", [d]
        yield prefix + "mlp.gate_proj.weight", [f, d]
        yield prefix + "mlp.up_proj.weight", [f, d]
        yield prefix + "mlp.down_proj.weight", [d, f]
    yield "model.norm.weight", [d]
    if not architecture["tied_head"]:
        yield "lm_head.weight", [v, d]


def _check_needed(model: Tree, report: Report) -> None:
    if model["architecture"]["block_count"] > LIMITS["maxSegments"]:
        return  # VAL-4: the list would be as long as the file likes
    shapes = {tensor["name"]: tensor["shape"] for tensor in model["tensors"]}
    for name, shape in needed_tensors(model["architecture"]):  # TEN-5
        if name not in shapes:
            report.add("TENSOR_MISSING", f"tensor {name}", "the architecture needs it")
        elif shapes[name] != shape:
            report.add("TENSOR_MISMATCH", f"tensor {name}", f"shape {shapes[name]}; the architecture gives {shape}")


def _check_data_file_names(files: list[Tree], report: Report) -> None:
    seen: set[str] = set()
    for index, file in enumerate(files):  # SHD-2
        name, key = file["name"], file["name"].lower()
        if not is_data_file_name(name) or key in seen:
            report.add("DATA_FILE_NAME", f"data_files[{index}].name", f"{name[:80]!r}")
        seen.add(key)
