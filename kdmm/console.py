"""What the command line prints: tables and colour on a terminal, plain lines in a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

__all__ = ["is_plain", "print_error", "print_rich", "print_table"]


@runtime_checkable
class _Stream(Protocol):
    def isatty(self) -> bool: ...


def is_plain(stream: _Stream) -> bool:
    """Whether a stream is no terminal: a file or a pipe gets lines that other programs can read."""
    return not stream.isatty() or os.environ.get("TERM") == "dumb"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on a terminal, else a line a row with tabs between its cells and no header."""
    if is_plain(sys.stdout):
        for row in rows:
            print("\t".join(row))
        return
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=SIMPLE)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    print_rich(table)


def print_rich(*renderables: Any) -> None:
    """Print what rich can draw, without colour if the variable ``NO_COLOR`` is set (https://no-color.org)."""
    from rich.console import Console

    console = Console(color_system=None) if os.environ.get("NO_COLOR") else Console()
    for renderable in renderables:
        console.print(renderable)


def print_error(message: str) -> None:
    """Print ``error: message`` on standard error."""
    coloured = not is_plain(sys.stderr) and not os.environ.get("NO_COLOR")
    label = "\033[1;31merror:\033[0m" if coloured else "error:"
    print(label, message, file=sys.stderr)
