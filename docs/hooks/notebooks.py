"""Add the notebooks of `examples/` as pages, with the outputs that are stored in them. Nothing is executed."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

EXAMPLES = Path(__file__).parents[2] / "examples"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each notebook and its pictures to the pages that MkDocs found."""
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        text, resources = MarkdownExporter().from_filename(str(path), resources={"unique_key": path.stem})
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=text))
        for name, content in resources["outputs"].items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files
