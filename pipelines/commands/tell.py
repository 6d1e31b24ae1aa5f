"""How a command speaks to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def tell(console: Console, text: str, style: str | None = None) -> None:
    """Print plain text as it is: no markup, no wrapping inside paths."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
