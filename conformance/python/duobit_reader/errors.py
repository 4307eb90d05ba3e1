"""Problems and errors: every broken rule has a stable code of docs/errors.md (format.md, section 2)."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """A broken rule: its code, where it is broken, and the facts."""

    code: str
    where: str
    message: str


class DuobitError(Exception):
    """What a reader gives for bytes that are no container: the first broken rule (VAL-1)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.message} ({problem.where})")
        self.problem = problem

    @property
    def code(self) -> str:
        return self.problem.code


class Stop(Exception):
    """Ends validation inside a validator: nothing behind the last problem has meaning (section 14)."""


class Report:
    """Collects problems (a validator, VAL-2), or raises the first one (a reader, VAL-1)."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict
        self.problems: list[Problem] = []

    def add(self, code: str, where: str, message: str) -> None:
        problem = Problem(code, where, message)
        if self.strict:
            raise DuobitError(problem)
        self.problems.append(problem)

    def stop(self, code: str, where: str, message: str) -> None:
        self.add(code, where, message)
        raise Stop
