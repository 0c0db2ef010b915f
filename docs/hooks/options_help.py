"""A griffe extension: show the help text of an option, `Annotated[..., Doc("...")]`, as the docstring of its field.

The text comes from `nelbo.options.help_of`, as for the command line, because some texts are computed. The extension
griffe-typingdoc reads the source only and fails on them.
"""

from importlib import import_module
from typing import Any

from griffe import Alias, Attribute, Class, Docstring, ExprSubscript, Extension, Module

from nelbo.options import help_of

ANNOTATED = "typing.Annotated"
IMPORTED_FROM = {"nelbo.options.Annotated": ANNOTATED}


class OptionsHelp(Extension):
    """Add docstrings to the fields of option dataclasses."""

    def on_alias_instance(self, *, alias: Alias, **_: Any) -> None:
        """Name the module that defines `Annotated`, so that mkdocstrings shortens the annotation."""
        alias.target_path = IMPORTED_FROM.get(alias.target_path, alias.target_path)

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Add the docstrings once the whole package is read."""
        self._visit(pkg)

    def _visit(self, place: Module | Class) -> None:
        for name, member in list(place.members.items()):
            if isinstance(member, Module | Class):
                self._visit(member)
            elif isinstance(member, Attribute) and isinstance(place, Class) and _is_annotated(member):
                kind = getattr(import_module(place.module.path), place.name)
                member.docstring = Docstring(help_of(kind, name), parent=member)


def _is_annotated(field: Attribute) -> bool:
    return isinstance(field.annotation, ExprSubscript) and field.annotation.canonical_path == ANNOTATED
