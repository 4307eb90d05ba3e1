"""Step 6 of section 14: every byte of the segments, data files included, and the tokenizer."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Iterator

from . import encodings as enc
from .errors import DuobitError, Problem, Report
from .layout import Item, list_items
from .preamble import Preamble
from .rules import is_data_file_name
from .schema import LIMITS
from .values import find_contradiction, find_flaw

Tree = dict[str, Any]
CHUNK = LIMITS["chunkBytes"]
TOKENIZER = 1
MOST_NESTED = 512  # AST-4


class DataFiles:
    """The header file as file 0 with its segment base, and the data files that could be opened (SHD-6)."""

    def __init__(self, source, preamble: Preamble, model: Tree) -> None:
        self.files: dict[int, tuple[Any, int]] = {0: (source, preamble.base)}
        self.model = model
        self._source = source

    def open(self, report: Report) -> None:
        """SHD-7. No file is opened by an invalid name (SEC-2); one that has another length is not read."""
        for index, file in enumerate(self.model["data_files"]):
            if not is_data_file_name(file["name"]):
                continue
            data = self._source.beside(file["name"])
            if data is None:
                report.add("DATA_FILE_MISSING", f"data_files[{index}]", f"there is no {file['name']}")
            elif data.size != file["length"]:
                data.close()
                message = f"{data.size} bytes, not {file['length']}"
                report.add("DATA_FILE_LENGTH", f"data_files[{index}]", message)
            else:
                self.files[index + 1] = (data, 0)

    def room(self, segment: Tree) -> int:
        """Bytes that the segment's file has from the place where the segment begins; below 0 when it ends before."""
        if segment["file"] not in self.files:
            return -1
        source, base = self.files[segment["file"]]
        return source.size - base - segment["offset"]

    def read(self, segment: Tree, offset: int, length: int) -> bytes:
        """Bytes of a segment that lies in its file. A negative offset reaches before it."""
        source, base = self.files[segment["file"]]
        return source.read(base + segment["offset"] + offset, length)

    def chunk_is_right(self, segment: Tree, chunk: int) -> bool:
        data = self.read(segment, chunk * CHUNK, min(CHUNK, segment["length"] - chunk * CHUNK))
        return hashlib.sha256(data).digest() == segment["chunk_hashes"][32 * chunk : 32 * chunk + 32]

    def read_part(self, part: Tree) -> bytes:
        """The bytes of a plane or an asset, unchecked."""
        return self.read(self.model["segments"][part["segment"]], part["offset"], part["length"])

    def read_checked(self, part: Tree) -> bytes:
        """The bytes of a plane or an asset for a reader. Raises DuobitError for a chunk with another hash (INT-2)."""
        segment = self.model["segments"][part["segment"]]
        for chunk in range(part["offset"] // CHUNK, enc.up(part["offset"] + part["length"], CHUNK)):
            if not self.chunk_is_right(segment, chunk):
                where = f"segments[{part['segment']}] chunk {chunk}"
                raise DuobitError(Problem("CHUNK_HASH", where, "the hash of the chunk is another"))
        return self.read_part(part)

    def close(self) -> None:
        for source, _ in self.files.values():
            source.close()


def check_data(files: DataFiles, clean: bool, report: Report) -> None:
    """`clean` says that steps 1 to 5 found no problem."""
    files.open(report)
    model = files.model
    inside: dict[int, list[Item]] = {}
    for item in list_items(model) if clean else []:
        inside.setdefault(item.segment, []).append(item)
    flawed: set[str] = set()
    file = 0
    ends: dict[int, int] = {}
    for index, segment in enumerate(model["segments"]):
        if segment["file"] != file:
            if clean:
                _check_file_hash(files, file, report)
            file = segment["file"]
        end = ends.get(file, 0)
        if segment["offset"] >= end and segment["length"] <= files.room(segment):
            found = [*_check_chunks(files, segment, index)]
            if clean:
                items = sorted(inside.get(index, []), key=lambda item: item.offset)
                found += _check_padding_before(files, segment, end, index)
                found += _check_items(files, segment, items, flawed)
            for _, _, *problem in sorted(found, key=lambda problem: problem[:2]):
                report.add(*problem)
            ends[file] = segment["offset"] + segment["length"]
    if clean:
        _check_file_hash(files, file, report)
    for asset in model["assets"]:
        if asset["role"] == TOKENIZER and _is_there(files, asset):
            check_tokenizer(files.read_part(asset), model["architecture"]["vocabulary_size"], report)
    if clean and len(files.files) > len(model["data_files"]):
        _check_tensors(files, flawed, report)


Found = tuple[int, int, str, str, str]  # place in the segment, rank at that place, then the problem


def _is_there(files: DataFiles, part: Tree) -> bool:
    segments = files.model["segments"]
    if part["segment"] >= len(segments):
        return False
    return part["offset"] + part["length"] <= files.room(segments[part["segment"]])


def _check_chunks(files: DataFiles, segment: Tree, index: int) -> Iterator[Found]:
    """INT-4, SHD-8."""
    for chunk in range(len(segment["chunk_hashes"]) // 32):
        if not files.chunk_is_right(segment, chunk):
            where = f"segments[{index}] chunk {chunk}"
            yield chunk * CHUNK, 0, "CHUNK_HASH", where, "the hash of the chunk is another"


def _check_padding_before(files: DataFiles, segment: Tree, end: int, index: int) -> Iterator[Found]:
    """LAY-5."""
    gap = segment["offset"] - end
    if any(files.read(segment, -gap, gap)):
        yield 0, 1, "PADDING_NONZERO", f"before segments[{index}]", "bytes before the segment are not zero"


def _check_items(files: DataFiles, segment: Tree, items: list[Item], flawed: set[str]) -> Iterator[Found]:
    """Padding between planes (LAY-10), then values: one problem a plane (VAL-6)."""
    end = 0
    for item in items:
        if any(files.read(segment, end, item.offset - end)):
            yield end, 2, "PADDING_NONZERO", f"before {item.where}", "padding is not zero"
        end = item.offset + item.length
        if item.tensor is None or item.tensor["encoding"] not in enc.KNOWN:
            continue
        flaw = find_flaw(item.tensor, item.role, files.read(segment, item.offset, item.length))
        if flaw is not None:
            flawed.add(item.tensor["name"])
            yield item.offset + flaw.byte, 3, flaw.code, item.where, flaw.message


def _check_tensors(files: DataFiles, flawed: set[str], report: Report) -> None:
    """What planes say of each other."""
    for tensor in files.model["tensors"]:
        if tensor["encoding"] in (enc.W11_OUTLIER, enc.PARTIAL_BINARY) and tensor["name"] not in flawed:
            planes = {plane["role"]: files.read_part(plane) for plane in tensor["planes"]}
            flaw = find_contradiction(tensor, planes)
            if flaw is not None:
                report.add(flaw.code, f"tensor {tensor['name'][:255]}", flaw.message)


def _check_file_hash(files: DataFiles, file: int, report: Report) -> None:
    """SHD-9."""
    if file == 0 or file not in files.files:
        return
    source, _ = files.files[file]
    digest = hashlib.sha256()
    for place in range(0, source.size, CHUNK):
        digest.update(source.read(place, CHUNK))
    if digest.digest() != files.model["data_files"][file - 1]["sha256"]:
        report.add("DATA_FILE_HASH", f"data_files[{file - 1}]", f"the file has {digest.hexdigest()}")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _depth(text: str) -> int:
    """How deep lists and objects nest in a JSON text; of any other text some number."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[{\]}]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.S)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def check_tokenizer(data: bytes, vocabulary_size: int, report: Report) -> None:
    """AST-4, AST-5."""
    where = "tokenizer.json"
    try:
        text = data.decode("utf-8-sig")
        if _depth(text) > MOST_NESTED:
            raise ValueError(f"nested more than {MOST_NESTED} deep")
        tokenizer = json.loads(text, parse_constant=_refuse_constant, parse_int=float)
    except ValueError as error:
        report.add("TOKENIZER_INVALID", where, f"not JSON in UTF-8: {error}")
        return
    model = _member(tokenizer, "model")
    vocab, added = _member(model, "vocab"), _member(tokenizer, "added_tokens")
    ids = (
        list(vocab.values()) if isinstance(vocab, dict) else [float(len(vocab) - 1)] if isinstance(vocab, list) else []
    )
    ids += [_member(token, "id") for token in added] if isinstance(added, list) else []
    largest = max((value for value in ids if isinstance(value, float)), default=-1.0)
    if largest >= vocabulary_size:
        report.add("TOKENIZER_VOCABULARY", where, f"id {largest:.0f} in a vocabulary of {vocabulary_size}")
