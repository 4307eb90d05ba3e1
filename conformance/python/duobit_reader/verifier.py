"""Verification of the FlatBuffer before anything in it is used: section 6 (STR-1 to STR-20)."""

from __future__ import annotations

from .errors import DuobitError, Problem
from .schema import LIMITS, ROOT, TABLES, Field

FIRST = LIMITS["preambleBytes"]


class Verifier:
    """Walks depth first over a copy of the header. The first broken rule is raised."""

    def __init__(self, header: bytes, newer_minor: bool) -> None:
        self.header = header
        self.newer_minor = newer_minor
        self.tables = 0
        self.budget = LIMITS["maxWorkFactor"] * len(header)

    def verify(self) -> None:
        self._table(self._follow(0, ROOT), ROOT, ROOT)

    def _fail(self, code: str, where: str, message: str) -> None:
        raise DuobitError(Problem(code, where, message))

    def _uint(self, place: int, size: int) -> int:
        return int.from_bytes(self.header[place : place + size], "little")

    def _spend(self, count: int, where: str) -> None:
        self.budget -= count
        if self.budget < 0:
            self._fail("HEADER_BUDGET", where, "the objects visited are larger than the header allows")  # STR-7

    def _follow(self, place: int, where: str) -> int:
        """The place an offset leads to (STR-13, STR-20)."""
        target = place + self._uint(place, 4)
        if target % 4 or not FIRST <= target <= len(self.header) - 4:
            self._fail("HEADER_OFFSET", where, f"the offset at byte {place} leads to byte {target}")
        return target

    def _table(self, table: int, name: str, where: str) -> None:
        header, size = self.header, len(self.header)
        self.tables += 1
        if self.tables > LIMITS["maxTables"]:
            self._fail("HEADER_BUDGET", where, "too many tables")  # STR-3
        vtable = table - int.from_bytes(header[table : table + 4], "little", signed=True)
        if vtable % 2 or not FIRST <= vtable <= size - 4:
            self._fail("HEADER_VTABLE", where, f"vtable at byte {vtable}")  # STR-4
        length = self._uint(vtable, 2)
        if length % 2 or not 4 <= length <= LIMITS["maxVtableBytes"] or vtable + length > size:
            self._fail("HEADER_VTABLE", where, f"vtable of {length} bytes at byte {vtable}")  # STR-5
        extent = self._uint(vtable + 2, 2)
        if extent < 4 or table + extent > size:
            self._fail("HEADER_VTABLE", where, f"table of {extent} bytes at byte {table}")  # STR-6
        self._spend(length + extent, where)
        fields = TABLES[name]
        entries = (length - 4) // 2
        for number in range(max(entries, len(fields))):
            place = self._uint(vtable + 4 + 2 * number, 2) if number < entries else 0
            field = fields[number] if number < len(fields) else None
            if place == 0:
                if field is not None and field.required:
                    self._fail("HEADER_REQUIRED", f"{where}.{field.name}", "a required field is absent")  # STR-8
                continue
            if field is None:
                if self.newer_minor:
                    continue  # STR-10
                self._fail("HEADER_UNKNOWN_FIELD", where, f"field {number} is not in the schema")  # STR-9
            else:
                self._field(field, table, place, extent, f"{where}.{field.name}")

    def _field(self, field: Field, table: int, place: int, extent: int, where: str) -> None:
        size = 4 if field.kind in ("string", "table", "vector") else field.size
        at = table + place
        if place < 4 or place + size > extent or at % size:
            self._fail("HEADER_OFFSET", where, f"field at byte {place} of its table, byte {at} of the file")  # STR-11
        if field.kind in ("scalar", "enum"):
            if field.type == "bool" and self.header[at] > 1:
                self._fail("HEADER_VALUE", where, f"bool of value {self.header[at]}")  # STR-12
            return
        target = self._follow(at, where)
        if field.kind == "table":
            self._table(target, field.type, where)
        elif field.kind == "string":
            self._string(target, where)
        else:
            self._vector(target, field, where)

    def _elements(self, vector: int, size: int, cost: int, where: str) -> int:
        """Count of elements that are all there and begin at a multiple of their size (STR-14); `cost` each (STR-15)."""
        count = self._uint(vector, 4)
        begin = vector + 4
        if begin + count * size > len(self.header) or (count > 0 and begin % size):
            self._fail("HEADER_VECTOR", where, f"{count} elements of {size} bytes at byte {begin}")
        self._spend(4 + count * cost, where)
        return count

    def _vector(self, vector: int, field: Field, where: str) -> None:
        count = self._elements(vector, field.size, field.size, where)
        if field.type not in TABLES:
            return
        if count > LIMITS["maxTensors"]:
            self._fail("LIMIT_EXCEEDED", where, f"{count} elements")  # STR-16
        for index in range(count):
            place = f"{where}[{index}]"
            self._table(self._follow(vector + 4 + 4 * index, place), field.type, place)

    def _string(self, string: int, where: str) -> None:
        count = self._elements(string, 1, 2, where)
        end = string + 4 + count
        if self.header[end : end + 1] != b"\0":
            self._fail("HEADER_STRING", where, "no zero byte behind the string")  # STR-17
        if count > LIMITS["maxTextBytes"]:
            self._fail("LIMIT_EXCEEDED", where, f"string of {count} bytes")  # STR-18
        try:
            self.header[string + 4 : end].decode("utf-8")
        except UnicodeDecodeError as error:
            self._fail("HEADER_STRING", where, f"not UTF-8: {error.reason}")  # STR-19
