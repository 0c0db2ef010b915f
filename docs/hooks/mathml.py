"""Convert TeX to MathML when the site is built, so that formulas need no script and no network.

`pymdownx.arithmatex` finds the formulas and protects them from Markdown; this hook of MkDocs replaces what it found.
The number of a display formula that ends in `\\tag{5}` stands at its right.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

FOUND = re.compile(r'<(span|div) class="arithmatex">(?:\\\(|\\\[)(.*?)(?:\\\)|\\\])</\1>', re.DOTALL)
TAG = re.compile(r"\\tag\{([^}]*)\}")
NAME = "<mi>(?:log|exp|min|max)</mi>"
FUNCTION = re.compile(rf"(<msub>{NAME}<m[in]>\w+</m[in]></msub>|(?<!<msub>){NAME})")
# What latex2mathml writes as an identifier or without a form, and the operator that MathML expects.
OPERATORS = (
    (re.compile("<mi>&#x0007E;</mi>"), "<mo>&#x0223C;</mo>"),  # the relation "is distributed as"
    (
        re.compile(r"(<mo[^>]*>(?:\[|\(|&#x00028;|&#x0005B;)</mo>)<mo>&#x02212;</mo>"),
        r'\1<mo form="prefix">&#x02212;</mo>',
    ),
)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the formulas in the HTML of a page; MkDocs calls this."""
    return FOUND.sub(_formula, content)


def _formula(found: re.Match[str]) -> str:
    kind, tex = found[1], html.unescape(found[2]).strip()
    if kind == "span":
        return _mathml(tex, "inline")
    tag = TAG.search(tex)
    number = f'<span class="formula__number">({tag[1]})</span>' if tag else ""
    return f'<div class="formula"><div class="formula__box">{_mathml(TAG.sub("", tex), "block")}</div>{number}</div>'


def _mathml(tex: str, display: str) -> str:
    """Return the MathML of a formula, with the thin space that TeX sets after the name of a function."""
    mathml = FUNCTION.sub(r'\1<mspace width="0.167em" />', convert(tex, display=display))
    for wrong, right in OPERATORS:
        mathml = wrong.sub(right, mathml)
    if "&amp;" in mathml or "\\" in mathml or re.search(r"&(?!#?\w+;)", mathml):
        raise ValueError(f"latex2mathml cannot convert {tex!r} completely; it returned {mathml}")
    return mathml
