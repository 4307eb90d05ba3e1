"""`python -m duobit_reader [--validate [--canonical]] FILE`: the manifest as JSON (appendix A), or the file's problems.

Exit codes: 0 read or valid, 1 refused or invalid, 2 wrong use or a file that cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from . import DuobitError, Source, open_container, validate_container


def main() -> int:
    parser = argparse.ArgumentParser(prog="duobit_reader", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--validate", action="store_true", help="look at every byte and list the problems")
    parser.add_argument("--canonical", action="store_true", help="with --validate: check the canonical form too")
    options = parser.parse_args()
    try:
        source = Source(options.file)
        if options.validate:
            problems = validate_container(source, options.canonical)
            result = {"ok": not problems, "problems": [problem._asdict() for problem in problems]}
            json.dump(result, sys.stdout, indent=1)
            print()
            return 1 if problems else 0
        json.dump(open_container(source).manifest(), sys.stdout, indent=1)
        print()
        return 0
    except DuobitError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.file}: {error.strerror}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
