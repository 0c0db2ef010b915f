"""A griffe extension: take `Annotated` and `Doc`, which `nelbo.options` re-exports, from their own modules."""

from typing import Any

from griffe import Alias, Extension

SOURCES = {"nelbo.options.Annotated": "typing.Annotated", "nelbo.options.Doc": "annotated_doc.Doc"}


class OptionsSource(Extension):
    """Make the help text of `Annotated[..., Doc("...")]` visible to griffe-typingdoc, and the annotation short."""

    def on_alias_instance(self, *, alias: Alias, **_: Any) -> None:
        """Replace the target of an import from `nelbo.options`."""
        alias.target_path = SOURCES.get(alias.target_path, alias.target_path)
