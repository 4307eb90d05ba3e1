"""Compares this reader with another implementation on damaged files.

Takes a file of verdicts, one JSON object a line (conformance/write-verdicts.mjs says what is in it). Prints where the first
code of a reader, the first code of a validator or its set of codes differ, and anything raised that is no DuobitError.
The last line is 'N agree, N differ'. Exit code 1 when something differs.
"""

from __future__ import annotations

import collections
import json
import sys
import traceback
from pathlib import Path
from typing import Any

from duobit_reader import DuobitError, MemorySource, open_container, validate_container

GOOD = Path(__file__).resolve().parents[2] / "fixtures" / "good"
SHOWN = 20


def judge(data: bytes) -> dict[str, Any]:
    codes = [problem.code for problem in validate_container(MemorySource(data))]
    try:
        open_container(MemorySource(data))
        opened = None
    except DuobitError as error:
        opened = error.code
    return {"open": opened, "first": codes[0] if codes else None, "codes": sorted(set(codes))}


def main() -> int:
    bases: dict[str, bytes] = {}
    agree = 0
    accepted = 0
    kinds: collections.Counter[str] = collections.Counter()
    differences: list[str] = []
    for number, line in enumerate(Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()):
        verdict = json.loads(line)
        name = verdict.pop("base")
        data = bytearray(bases.setdefault(name, (GOOD / f"{name}.duo").read_bytes()))
        patches = verdict.pop("patches")
        for place, text in patches:
            data[place : place + len(text) // 2] = bytes.fromhex(text)
        try:
            own = judge(bytes(data))
        except Exception:  # noqa: BLE001 - that nothing else is raised is what is tested
            own = {"open": "RAISED", "first": traceback.format_exc(limit=-1), "codes": []}
        kinds.update([str(verdict["first"])])
        accepted += verdict["first"] is None
        if own == verdict:
            agree += 1
        else:
            differences.append(f"{number}: {name} {patches}\n    other {verdict}\n    own   {own}")
    for difference in differences[:SHOWN]:
        print(difference)
    if len(differences) > SHOWN:
        print(f"… and {len(differences) - SHOWN} more")
    print(f"{accepted} of the files were accepted; {len(kinds)} different first codes")
    print(f"{agree} agree, {len(differences)} differ")
    return 1 if differences or agree == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
