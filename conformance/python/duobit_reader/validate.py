"""Readers and validators: the steps of section 14 in their order."""

from __future__ import annotations

from typing import Any, NamedTuple

from .canonical import check_canonical
from .data import DataFiles, check_data
from .encodings import KNOWN
from .errors import DuobitError, Problem, Report, Stop
from .header import decode_header, manifest_json
from .layout import check_layout
from .preamble import Preamble, read_header, read_preamble
from .rules import check_meaning
from .schema import LIMITS
from .values import values_bytes
from .verifier import Verifier

Tree = dict[str, Any]


class Container(NamedTuple):
    """A model that a reader opened: steps 1 to 5 found nothing (VAL-1)."""

    source: Any
    preamble: Preamble
    model: Tree

    def manifest(self) -> Tree:
        return manifest_json(self.preamble, self.model)

    def open_data(self) -> DataFiles:
        """Raises DuobitError when a data file is missing or of another length (SHD-7)."""
        files = DataFiles(self.source, self.preamble, self.model)
        files.open(Report(strict=True))
        return files

    def read_values(self, tensor: Tree, files: DataFiles) -> bytes:
        """The values as f32, little-endian; only from chunks with the right hash (INT-2)."""
        if tensor["encoding"] not in KNOWN:
            raise DuobitError(Problem("ENCODING_UNKNOWN", f"tensor {tensor['name'][:255]}", str(tensor["encoding"])))
        planes = {plane["role"]: files.read_checked(plane) for plane in tensor["planes"]}
        return values_bytes(tensor, planes)


def _check_header(source, report: Report) -> tuple[Preamble, Tree]:
    """Steps 1 to 5."""
    preamble = read_preamble(source, report)
    header = read_header(source, preamble, report)
    try:
        Verifier(header, newer_minor=preamble.minor > LIMITS["formatMinor"]).verify()
    except DuobitError as error:
        report.stop(*error.problem)
    model = decode_header(header)
    check_meaning(preamble, model, report)
    check_layout(preamble, model, source.size, report)
    return preamble, model


def open_container(source) -> Container:
    """A reader. Raises DuobitError with the first broken rule of steps 1 to 5."""
    preamble, model = _check_header(source, Report(strict=True))
    return Container(source, preamble, model)


def validate_container(source, canonical: bool = False) -> list[Problem]:
    """A validator: all problems, in the order of section 14; if there is none and it is asked for, CAN-2."""
    report = Report(strict=False)
    try:
        preamble, model = _check_header(source, report)
    except Stop:
        return report.problems
    files = DataFiles(source, preamble, model)
    check_data(files, clean=not report.problems, report=report)
    if canonical and not report.problems and preamble.minor <= LIMITS["formatMinor"]:
        check_canonical(preamble, model, source.read(0, preamble.header_length), report)
    return report.problems
