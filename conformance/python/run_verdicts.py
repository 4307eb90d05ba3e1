"""Compares this reader with another implementation.

Takes a file of verdicts, one JSON object a line; conformance/write-verdicts.mjs says what is in it. Of damaged files
the first code of a reader, the first code of a validator and its set of codes must be the same, and nothing may be
raised that is no DuobitError. Prints what differs. The last line is 'N agree, N differ'. Exit code 1 when one does.
"""

from __future__ import annotations

import collections
import json
import math
import struct
import sys
import traceback
from pathlib import Path
from typing import Any

from duobit_reader import DuobitError, MemorySource, Source, open_container, validate_container
from duobit_reader.activation import decode_row, quantize_row
from duobit_reader.digest import content_digest
from duobit_reader.rotation import rotate_row

GOOD = Path(__file__).resolve().parents[2] / "fixtures" / "good"
SHOWN = 20
Verdict = dict[str, Any]


def _row(text: str) -> list[float]:
    return [value for (value,) in struct.iter_unpack("<f", bytes.fromhex(text))]


def _hex(row: list[float]) -> str:
    return struct.pack(f"<{len(row)}f", *row).hex()


class Judge:
    """Says of the same inputs what this reader says."""

    def __init__(self) -> None:
        self.bases: dict[str, bytes] = {}

    def judge(self, verdict: Verdict) -> Verdict:
        if "base" in verdict:
            return self.judge_damaged(verdict["base"], verdict["patches"], verdict["size"])
        if "rotated" in verdict:
            return {"rotated": _hex(rotate_row(_row(verdict["row"])))}
        return self.judge_good(verdict["good"]) if "good" in verdict else self.judge_row(verdict)

    def judge_damaged(self, name: str, patches: list[tuple[int, str]], size: int) -> Verdict:
        if name not in self.bases:
            self.bases[name] = (GOOD / f"{name}.duo").read_bytes()
        data = bytearray(self.bases[name])
        for place, text in patches:
            data[place : place + len(text) // 2] = bytes.fromhex(text)
        source = MemorySource(bytes(data[:size]).ljust(size, b"\0"))
        codes = [problem.code for problem in validate_container(source)]
        try:
            open_container(source)
            opened = None
        except DuobitError as error:
            opened = error.code
        return {"open": opened, "first": codes[0] if codes else None, "codes": sorted(set(codes))}

    def judge_good(self, name: str) -> Verdict:
        source = Source(GOOD / f"{name}.duo")
        codes = sorted({problem.code for problem in validate_container(source, canonical=True)})
        container = open_container(source)
        files = container.open_data()
        digest = content_digest(container.model, files)
        files.close()
        return {"canonical": codes, "content_sha256": digest}

    def judge_row(self, verdict: Verdict) -> Verdict:
        row = _row(verdict["row"])
        low, step, codes = quantize_row(row, verdict["quantizer"])
        values = decode_row(low, step, codes, verdict["quantizer"])
        low, step, *values = [None if math.isnan(value) else value for value in (low, step, *values)]
        return {"low": low, "step": step, "codes": codes, "values": values}


def main() -> int:
    judge = Judge()
    agree = accepted = 0
    kinds: collections.Counter[str] = collections.Counter()
    differences: list[str] = []
    for number, line in enumerate(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()):
        verdict = json.loads(line)
        if "first" in verdict:
            kinds.update([str(verdict["first"])])
            accepted += verdict["first"] is None
        try:
            own = judge.judge(verdict)
        except Exception:  # noqa: BLE001 - that nothing else is raised is what is tested
            own = {"raised": traceback.format_exc(limit=-1)}
        if verdict == {**verdict, **own}:
            agree += 1
        else:
            differences.append(f"{number}: {line}\n    own {own}")
    for difference in differences[:SHOWN]:
        print(difference)
    if len(differences) > SHOWN:
        print(f"… and {len(differences) - SHOWN} more")
    print(f"{accepted} of the damaged files were accepted; {len(kinds)} different first codes")
    print(f"{agree} agree, {len(differences)} differ")
    return 1 if differences or agree == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
