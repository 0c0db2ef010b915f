"""Let long names in tables break after a dot, a slash or an underscore, and nowhere else."""

import re
from typing import Any

CELL = re.compile(r"<td\b.*?</td>", re.DOTALL)
CODE = re.compile(r"<code>([^<]{20,})</code>")
PLACES = re.compile(r"(::|[./_])")


def on_page_content(content: str, **_: Any) -> str:
    """Mark the places in the HTML of a page; MkDocs calls this."""
    return CELL.sub(lambda cell: CODE.sub(_with_breaks, cell[0]), content)


def _with_breaks(code: re.Match[str]) -> str:
    return "<code>" + PLACES.sub(r"\1<wbr>", code[1]) + "</code>"
