"""Checks the first lines of docstrings: at most 72 characters.

What follows stands below an empty line. No docstring holds a lone surrogate, which Python 3.13
refuses to compile. Usage: check_docstrings.py FOLDER...
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

LONGEST = 72
_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def faults(source: str) -> Iterator[tuple[int, str]]:
    """Line numbers and faults of the docstrings in a module's source."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, _DOCUMENTED) or not (text := ast.get_docstring(node)):
            continue
        first, *rest = text.splitlines()
        line = node.body[0].lineno
        if text != text.encode("utf-8", "ignore").decode("utf-8"):
            yield line, "the docstring holds a lone surrogate"
        if rest and rest[0]:
            yield line, "the docstring's first line goes on in the second"
        elif len(first) > LONGEST:
            yield line, f"the docstring's first line has {len(first)} characters, over {LONGEST}"


def main(folders: list[str]) -> int:
    """Print the faults in these folders' modules; return the exit status."""
    found = [
        f"{path}:{line}: {fault}"
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
        for line, fault in faults(path.read_text(encoding="utf-8"))
    ]
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
