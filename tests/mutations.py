"""The mutants of the core: which changes are worth a test run, a fixed sample of them, and the tests that judge each.

mutmut supplies the operators. Its own runner takes no sample, and skips constants and decorated functions.
"""

import contextlib
import difflib
import functools
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider
from mutmut.mutation import mutators

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("probability", "diffusion", "codec")
SEED = "nelbo"
OUTSIDE = 2  # test files of other packages that judge a mutant
# Replacing a value by None almost always raises at once and says nothing about the tests.
LEFT_OUT = (mutators.operator_assignment, mutators.operator_lambda, mutators.operator_dict_arguments)
OPERATORS = [(kind, operator) for kind, operator in mutators.mutation_operators if operator not in LEFT_OUT]
OPERATORS += [(cst.If, mutators.operator_if_exp)]  # `if x` as `if x and False` and `if x or True`: a check removed
WORDING = (cst.Annotation, cst.Decorator, cst.Raise, cst.FormattedString, cst.ConcatenatedString, cst.TypeAlias)
UNTOUCHED_CALLS = ("len", "isinstance", "cast", "warn")


@dataclass(frozen=True)
class Mutant:
    """A changed file.

    Attributes:
        key: its hash, by which the sample is drawn.
        path, line: of the file below the root, and the first line that changes.
        before, after: the lines that change.
        text: of the whole changed file.
        tests: the test files that judge it, in order; judges is a digest of what they contain.
    """

    key: str
    path: str
    line: int
    before: str
    after: str
    text: str
    tests: tuple[str, ...]
    judges: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  {self.before}  ->  {self.after}"


class Finder(cst.CSTVisitor):
    """Collect (node, replacement, line) for every mutation of a module that is worth a test run."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[cst.CSTNode, cst.CSTNode, int]] = []
        self.line = 1

    def on_visit(self, node: cst.CSTNode) -> bool:
        place = self.get_metadata(PositionProvider, node, None)
        self.line = place.start.line if place else self.line
        if is_excluded(node):
            return False
        for kind, operator in OPERATORS:
            if isinstance(node, kind):
                self.found += [(node, new, self.line) for new in operator(node) if is_telling(node, new)]
        return True


def is_excluded(node: cst.CSTNode) -> bool:
    """Whether the node is wording, typing, an export list, or a check that correct code never triggers."""
    if isinstance(node, cst.Call):
        name = node.func.attr if isinstance(node.func, cst.Attribute) else node.func
        return isinstance(name, cst.Name) and name.value in UNTOUCHED_CALLS
    if isinstance(node, cst.Arg):
        return node.keyword is not None and node.keyword.value == "strict"
    if isinstance(node, cst.Assign):
        return any(isinstance(each.target, cst.Name) and each.target.value == "__all__" for each in node.targets)
    if isinstance(node, cst.If):
        return isinstance(node.test, cst.Name) and node.test.value == "TYPE_CHECKING"
    return isinstance(node, WORDING) or (isinstance(node, cst.Expr) and isinstance(node.value, cst.BaseString))


def is_telling(node: cst.CSTNode, new: cst.CSTNode) -> bool:
    """Whether the replacement may change a result: no new wording, and no call that raises a TypeError at once."""
    if isinstance(node, cst.SimpleString) and isinstance(new, cst.SimpleString):  # only names and keys, never sentences
        return bool(re.fullmatch(r"[\w-]+", node.raw_value)) and new.raw_value == f"XX{node.raw_value}XX"
    if isinstance(node, cst.Call) and isinstance(new, cst.Call) and node.func is new.func:
        missing = [each for each in node.args if each not in new.args]
        return len(new.args) < len(node.args) and all(each.keyword for each in missing)
    return True


def sample(num: int) -> tuple[list[Mutant], int]:
    """Choose the `num` mutants with the smallest hashes, and return the number of all mutants.

    The hash is over the seed, the path, the line's text and the change: an edit elsewhere leaves the sample as it is.
    """
    drawn = []
    for package in PACKAGES:
        for file in sorted((ROOT / "src/nelbo" / package).rglob("*.py")):
            if file.name == "__init__.py":  # it only exports
                continue
            path, text, finder, seen = file.relative_to(ROOT).as_posix(), file.read_text("utf-8"), Finder(), Counter()
            module = (wrapper := MetadataWrapper(cst.parse_module(text))).visit(finder)
            lines = text.splitlines()
            for node, new, line in finder.found:
                what = "\0".join((path, lines[line - 1], module.code_for_node(node), module.code_for_node(new)))
                seen[what] += 1
                drawn.append((digest(SEED, what, str(seen[what])), path, text, wrapper.module, node, new))
    chosen = []
    for key, path, text, module, node, new in sorted(drawn, key=lambda each: each[0]):
        changed = module.deep_replace(node, new).code
        if changed != text and compiles(changed):
            difference = list(difflib.unified_diff(text.splitlines(), changed.splitlines(), n=0, lineterm=""))
            line = int(re.findall(r"-(\d+)", difference[2])[0])
            before, after = (" ".join(x[1:].strip() for x in difference[3:] if x[0] == sign) for sign in "-+")
            chosen.append(Mutant(key, path, line, before, after, changed, *tests_of(path)))
        if len(chosen) == num:
            break
    return chosen, len(drawn)


def compiles(text: str) -> bool:
    with contextlib.suppress(SyntaxError):
        return bool(compile(text, "mutant", "exec"))
    return False


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@functools.cache
def tests_of(path: str) -> tuple[tuple[str, ...], str]:
    """Choose the test files that judge a source file, and digest them: all of its package, then a few other ones.

    Those others name the most of what the file defines, and import from its package or their conftest.py does; where no
    test names anything of the file, they mention its name anyhow. In the package test_<module>.py comes first, then the
    files that need nothing of conftest.py (it trains models, which takes longer than most tests).
    """
    source = ROOT / path
    package, text = source.relative_to(ROOT / "src/nelbo").parts[0], source.read_text("utf-8")
    defined = re.findall(r"^(?:def|class) ([A-Za-z]\w*)|^([A-Z]\w*)(?::.*)? = ", text, re.MULTILINE)
    named = re.compile(rf"\b({'|'.join([source.stem, *(a or b for a, b in defined)])})\b")
    own: list[tuple[bool, bool, int, str, str]] = []
    naming, mentioning = own.copy(), own.copy()
    for test in sorted((ROOT / "tests").rglob("test_*.py")):
        alone, setup = test.read_text("utf-8"), test.with_name("conftest.py")
        shared = setup.read_text("utf-8") if setup.exists() else ""
        content, made = alone + shared, "|".join(re.findall(r"^def (\w+)", shared, re.MULTILINE))
        needs = made and re.search(rf"def \w+\([^)]*\b({made})\b|^from tests\.\w+\.conftest ", alone, re.MULTILINE)
        imports = re.search(rf"^from nelbo\.{package}\b", content, re.MULTILINE)
        mentions, loosely = len(named.findall(content)), content.lower().count(source.stem)
        ends = test.relative_to(ROOT).as_posix(), content
        if test.parent.name == package:
            own.append((test.stem != f"test_{source.stem}", bool(needs), -mentions, *ends))
        elif test.parent.name not in ("docs", "gpu") and mentions and imports:
            naming.append((False, False, -mentions, *ends))
        elif test.parent.name not in ("docs", "gpu") and loosely:
            mentioning.append((False, False, -loosely, *ends))
    others = naming if naming or any(rank[2] for rank in own) else mentioning
    chosen = sorted(own) + sorted(others)[:OUTSIDE]
    return tuple(name for *_, name, _ in chosen), digest(*(content for *_, content in chosen))
