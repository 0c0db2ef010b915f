"""The house rules that a test can hold: short files, short functions, no flags in the library, no hidden names."""

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "nelbo"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [path.relative_to(SOURCE).as_posix() for path in FILES]
MOST_LINES, MOST_BODY = 300, 60


def functions(tree: ast.AST):
    """Every function of a module, with its body without the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, node.body[1:] if ast.get_docstring(node) is not None else node.body


def body_length(body: list[ast.stmt]) -> int:
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def strings(tree: ast.AST):
    """Every string literal of a module, docstrings and the parts of f-strings included."""
    return (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_has_at_most_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_function_body_has_at_most_60_lines(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    long = {node.name: body_length(body) for node, body in functions(tree) if body_length(body) > MOST_BODY}
    assert long == {}


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("cli/")])
def test_the_library_names_no_flags(name):
    """Messages name options by `nelbo.errors.option`; only the command line knows flags, and whole commands."""
    tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
    without_commands = (re.sub(r"`nelbo [^`]*(`|$)", "", text) for text in strings(tree))
    flags = [text for text in without_commands if re.search(r"(?<![\w-])--[a-z]", text)]
    assert flags == []


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_documented_arguments_are_those_of_the_signature(path):
    """One name before each colon, and a parameter of this name: the site shows no others."""
    for node, _ in functions(ast.parse(path.read_text(encoding="utf-8"))):
        section = (ast.get_docstring(node) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
        named = re.findall(r"^    (\S.*?): ", section, re.MULTILINE)
        given = {each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)}
        assert set(named) <= given, (node.name, named)


@pytest.mark.parametrize("stub", sorted(SOURCE.rglob("__init__.pyi")), ids=lambda path: path.parent.name)
def test_no_export_has_the_name_of_its_module(stub):
    """Importing the module would hide a name that is imported lazily."""
    modules = {path.stem for path in stub.parent.glob("*.py")}
    modules |= {path.parent.name for path in stub.parent.glob("*/__init__.py")}
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    exports = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert exports & modules == set()


def test_the_counts_would_notice():
    tree = ast.parse("def short():\n    '''doc'''\n    return 1\n\n\ndef long():\n" + "    x = 1\n" * 61)
    assert {node.name: body_length(body) for node, body in functions(tree)} == {"short": 1, "long": 61}
