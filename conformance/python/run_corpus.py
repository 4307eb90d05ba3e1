"""Runs the conformance corpus (format.md, section 23) through the second reader.

Every NAME.duo of fixtures/{good,malformed,invalid,future} is compared with its twin NAME.json, and the worked examples
of docs/format.md are computed. Prints what failed and, last, 'N passed, N failed'. Exit code 1 when something failed.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from pathlib import Path
from typing import Any, Iterator

from duobit_reader import DuobitError, Source, open_container, validate_container
from duobit_reader import encodings as enc
from duobit_reader.activation import ladder, quantize_row
from duobit_reader.digest import tensor_text
from duobit_reader.rotation import rotate_row
from duobit_reader.schema import ENUMS, LIMITS
from duobit_reader.values import find_contradiction, find_flaw, values_bytes

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("good", "malformed", "invalid", "future")


def find_difference(expected: Any, actual: Any, where: str = "manifest") -> str | None:
    """The first place where two JSON values differ, or None. 1 and 1.0 are the same number, True is none."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        if sorted(expected) != sorted(actual):
            return f"{where}: members {sorted(set(expected) ^ set(actual))} on one side only"
        pairs = [(f"{where}.{key}", expected[key], actual[key]) for key in expected]
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return f"{where}: {len(expected)} elements, not {len(actual)}"
        pairs = [(f"{where}[{index}]", e, a) for index, (e, a) in enumerate(zip(expected, actual))]
    else:
        same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
        return None if same else f"{where}: {expected!r} expected, {actual!r} found"
    return next((found for w, e, a in pairs if (found := find_difference(e, a, w)) is not None), None)


def check_good(source: Source, twin: dict[str, Any]) -> Iterator[str]:
    problems = validate_container(source)
    if problems:
        yield f"the validator finds {problems[0]}"
        return
    container = open_container(source)
    form = validate_container(source, canonical=True)
    if container.preamble.minor <= LIMITS["formatMinor"] and twin["canonical"] != (not form):
        yield f"canonical is {twin['canonical']}, the validator finds {form}"
    if container.preamble.header_sha256.hex() != twin["header_sha256"]:
        yield "header_sha256 differs"
    difference = find_difference(twin["manifest"], json.loads(json.dumps(container.manifest())))
    if difference is not None:
        yield difference
    known = [tensor for tensor in container.model["tensors"] if tensor["encoding"] in enc.KNOWN]
    if sorted(tensor["name"] for tensor in known) != sorted(twin["values"]):
        yield f"values of {len(known)} tensors, the twin has {len(twin['values'])}"
        return
    files = container.open_data()
    for tensor in container.model["tensors"]:
        if tensor not in known:
            try:
                container.read_values(tensor, files)
                yield f"{tensor['name']}: a tensor of an unknown encoding gave values"
            except DuobitError as error:
                if error.code != "ENCODING_UNKNOWN":
                    yield f"{tensor['name']}: {error}"
            continue
        expected = twin["values"][tensor["name"]]
        data = container.read_values(tensor, files)
        first = list(struct.unpack_from(f"<{min(8, len(data) // 4)}f", data))
        if first != expected["first"]:
            yield f"{tensor['name']}: first values {first}, not {expected['first']}"
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            yield f"{tensor['name']}: hash of the values differs"
    files.close()


def check_bad(source: Source, twin: dict[str, Any]) -> Iterator[str]:
    problems = validate_container(source)
    codes = sorted({problem.code for problem in problems})
    if codes != twin["codes"]:
        yield f"codes {codes}, not {twin['codes']}"
    if problems and problems[0].code != twin["code"]:
        yield f"first code {problems[0].code}, not {twin['code']}"
    try:
        open_container(source)
        if twin["stage"] == "open":
            yield "the reader opens the file"
    except DuobitError as error:
        if twin["stage"] != "open":
            yield f"the reader refuses the file: {error}"
        elif error.code != twin["code"]:
            yield f"the reader gives {error.code}, not {twin['code']}"


def check_file(path: Path) -> Iterator[str]:
    twin = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    source = Source(path)
    try:
        yield from check_good(source, twin) if "manifest" in twin else check_bad(source, twin)
    finally:
        source.close()


def check_example(text: str) -> Iterator[str]:
    """A worked example of section 9: planes as hexadecimal bytes and some of the values."""
    lines = [line.split() for line in text.strip().splitlines()]
    parameters = {words[0]: words[1:] for words in (part.split() for part in text.strip().splitlines()[0].split(","))}
    encodings = {name: number for number, name in ENUMS["EncodingId"].items()}
    roles = {name: number for number, name in ENUMS["PlaneRole"].items()}
    tensor = {"name": "example", "shape": [int(size) for size in parameters["shape"]]}
    tensor["encoding"] = encodings[parameters["encoding"][0]]
    for name in ("group_size", "flags", "outlier_columns", "salient_count"):
        tensor[name] = int(parameters.get(name, ["0"])[0])
    tensor["input_rotation"] = 0
    planes = {roles[words[0]]: bytes.fromhex("".join(words[1:])) for words in lines[1:] if words[0] in roles}
    lengths = [(role, len(data)) for role, data in planes.items()]
    if lengths != enc.list_planes(tensor):
        yield f"planes {lengths}, not {enc.list_planes(tensor)}"
        return
    flaws = [find_flaw(tensor, role, data) for role, data in planes.items()]
    if tensor["encoding"] in (enc.W11_OUTLIER, enc.PARTIAL_BINARY):
        flaws.append(find_contradiction(tensor, planes))
    yield from (str(flaw) for flaw in flaws if flaw is not None)
    values = [number for (number,) in struct.iter_unpack("<f", values_bytes(tensor, planes))]
    for words in lines[1:]:
        for word in words[1:] if words[0] == "values" else []:
            place, expected = word.split("=")
            row, column = map(int, place.split(","))
            actual = values[row * tensor["shape"][1] + column]
            if actual != float(expected):
                yield f"value {place} is {actual}, not {expected}"


def check_digest_example(text: str) -> Iterator[str]:
    """Section 19.1: the text of a tensor and its digest."""
    expected, digest = text.strip().splitlines()
    planes = [{"role": 1, "sha256": hashlib.sha256(bytes.fromhex("003C00C0")).hexdigest()}]
    parameters = ("flags", "group_size", "outlier_columns", "salient_count")
    tensor = {"encoding": enc.F16, "shape": [2], "activation": None, "input_rotation": 0, **{name: 0 for name in parameters}}
    if (actual := tensor_text(tensor, planes)) != expected:
        yield f"text {actual}, not {expected}"
    if hashlib.sha256(expected.encode()).hexdigest() != digest:
        yield "the digest is not that of the text"


def check_activation_example() -> Iterator[str]:
    """Section 10.1, ACT-8."""
    quantizer = {"clip_low": 1.0, "clip_high": 1.0, "knee": 4, "slope_ratio": 3, "plane_scales": []}
    if ladder(quantizer) != [0, 1, 2, 3, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37]:
        yield f"ladder {ladder(quantizer)}"
    if (found := quantize_row([0.0, 0.5, 4.0, 5.5, 37.0], quantizer)) != (0.0, 1.0, [0, 0, 4, 4, 15]):
        yield f"lo, D and codes {found}"


def check_rotation_example() -> Iterator[str]:
    """Section 10.2, ROT-5."""
    if (found := rotate_row([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])) != [1.0, 3.0, 2.5, 4.5, 3.5, -6.5]:
        yield f"rotated row {found}"


def list_checks() -> Iterator[tuple[str, Iterator[str]]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / "fixtures" / folder).glob("*.duo")):
            yield f"{folder}/{path.stem}", check_file(path)
    text = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    for index, example in enumerate(re.findall(r"^```example\n(.*?)^```", text, re.M | re.S)):
        yield f"docs/format.md example {index + 1}", check_example(example)
    for example in re.findall(r"^```\n(\{\"encoding\".*?)^```", text, re.M | re.S):
        yield "docs/format.md digest", check_digest_example(example)
    yield "docs/format.md activations", check_activation_example()
    yield "docs/format.md rotations", check_rotation_example()


def main() -> int:
    passed = failed = 0
    for name, complaints in list_checks():
        found = list(complaints)
        passed, failed = (passed, failed + 1) if found else (passed + 1, failed)
        for complaint in found:
            print(f"{name}: {complaint}")
    if passed == 0:
        print(f"no corpus under {ROOT / 'fixtures'}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
