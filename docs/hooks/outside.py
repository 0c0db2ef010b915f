"""Add pages whose source is outside `docs/`, such as the changelog, and adapt links from and to them to the site.

In the repository, a page of `docs/` links to the source, so that the link works there too.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "models.md": "src/nelbo/models/README.md",
}
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those that MkDocs found."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, content=adapted(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page in `docs/` to a source of `PAGES` point to the page made of it."""
    place = Path("docs", page.file.src_uri).parent

    def target(found: re.Match[str]) -> str:
        linked = Path(os.path.normpath(place / found[1])).as_posix()
        names = [name for name, source in PAGES.items() if source == linked]
        return f"]({os.path.relpath(Path('docs', names[0]), place)}" if names else found[0]

    return LINK.sub(target, markdown)


def adapted(path: Path) -> str:
    """Return the text of a file with its links relative to `docs/`.

    Raises:
        ValueError: a link to a file that is neither in `docs/` nor one of the pages added here.
    """
    added = {(ROOT / source).resolve(): name for name, source in PAGES.items()}

    def target(found: re.Match[str]) -> str:
        linked = (path.parent / found[1]).resolve()
        if linked in added:
            return f"]({added[linked]}"
        if not linked.is_relative_to(ROOT / "docs"):
            raise ValueError(f"{path.name} links to {found[1]}, which is not part of the site")
        return f"]({linked.relative_to(ROOT / 'docs').as_posix()}"

    return LINK.sub(target, path.read_text(encoding="utf-8"))
