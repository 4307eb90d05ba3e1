"""A second reader of the Duobit container, made from docs/format.md alone to test that document. Not for production."""

from .errors import DuobitError, Problem
from .source import MemorySource, Source
from .validate import Container, open_container, validate_container

__all__ = ["Container", "DuobitError", "MemorySource", "Problem", "Source", "open_container", "validate_container"]
