"""Hooks of mkdocs: add the generated pages, and rewrite the links of the others."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT)]

from tools.docs_site import links  # noqa: E402
from tools.docs_site.cli_pages import cli_page  # noqa: E402
from tools.docs_site.schema_pages import schema_page  # noqa: E402
from tools.docs_site.script_pages import scripts_page  # noqa: E402

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_SHIM = ROOT / "tools/docs_site/iframe-worker/iframe-worker.min.js"  # npm, iframe-worker 1.0.4
_SHIM_URI = "assets/javascripts/iframe-worker.min.js"
_FROM_ELSEWHERE = "https://unpkg.com/iframe-worker/shim"


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that are made from the code, and those of files outside of ``docs/``."""
    from mkdocs.structure.files import File

    made = {
        "reference/cli.md": cli_page(),
        "reference/dataset-schema.md": schema_page(),
        "scripts.md": links.rewrite(
            scripts_page(ROOT / "examples"), "examples/README.md", "scripts.md"
        ),
    }
    for path, uri in links.PAGES.items():
        if uri not in made and uri != "index.md":
            text = (ROOT / path).read_text(encoding="utf-8")
            made[uri] = links.rewrite(text, path, uri)
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    files.append(File.generated(config, _SHIM_URI, abs_src_path=str(_SHIM)))
    return files


def on_post_page(output: str, page: "Page", config: "MkDocsConfig") -> str:
    """Load the search's worker from the site itself, so that it works without a network."""
    from mkdocs.utils import get_relative_url

    return output.replace(_FROM_ELSEWHERE, get_relative_url(_SHIM_URI, page.url))


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:
    """Rewrite the links of a page of ``docs/``."""
    uri = page.file.src_uri
    if page.file.generated_by:
        return markdown
    return links.rewrite(markdown, f"docs/{uri}", uri)
