"""TeX becomes MathML when the site is built: its formulas need no script and no network, and flow on a phone.

`pymdownx.arithmatex` finds the formulas and protects them from Markdown; this hook of MkDocs replaces what it found.
A display formula that ends in `\\tag{5}` carries that number at its right.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FOUND = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.DOTALL)
TAG = re.compile(r"\\tag\{([^}]*)\}")
FUNCTION = re.compile(r"(<mi>(?:log|exp|min|max)</mi>)")


def on_page_content(content: str, **_: Any) -> str:
    """Called by MkDocs with the HTML of a page's text."""
    return FOUND.sub(_formula, content)


def _formula(found: re.Match[str]) -> str:
    kind, tex = found[1], html.unescape(found[2]).strip()
    if kind == "span":
        return _mathml(tex, "inline")
    tag = TAG.search(tex)
    number = f'<span class="formula__number">({tag[1]})</span>' if tag else ""
    return f'<div class="formula"><div class="formula__box">{_mathml(TAG.sub("", tex), "block")}</div>{number}</div>'


def _mathml(tex: str, display: str) -> str:
    """MathML of a formula, with the thin space after a function's name that TeX would set."""
    mathml = FUNCTION.sub(r'\1<mspace width="0.167em" />', convert(tex, display=display))
    if "&amp;" in mathml or "\\" in mathml or re.search(r"&(?!#?\w+;)", mathml):
        raise ValueError(f"latex2mathml doesn't know all of {tex!r}: it left {mathml}")
    return mathml
