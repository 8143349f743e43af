"""Links of the repository's pages, as they are on the site.

A page is written to be read in the repository, where a link is a path from its folder. On the site
some of these files are pages elsewhere, and others are not there.
"""

import posixpath
import re
from collections.abc import Mapping

PAGES: Mapping[str, str] = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "examples/README.md": "scripts.md",
}
"""By path in the repository, the page of the site that is made of a file outside of ``docs/``."""

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_REPORT = "report/report.md"  # the same as index.html beside it


def on_site(path: str) -> str | None:
    """Return where a file of the repository is on the site; ``None`` if it is not there."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        inside = path.removeprefix("docs/")
        return inside.removesuffix("report.md") + "index.html" if _REPORT in path else inside
    if path.startswith("examples/"):
        return f"scripts.md#{_anchor(path.removeprefix('examples/'))}"
    return None


def rewrite(text: str, path: str, uri: str) -> str:
    """Return a page with its links as the site has them; the text alone where there is no target.

    Args:
        text: The page, in Markdown.
        path: Where it is in the repository.
        uri: Where it is on the site, from the site's root.
    """

    def replaced(match: re.Match[str]) -> str:
        mark, label, target, anchor = match.groups()
        if not target or "://" in target or target.startswith("mailto:"):
            return match.group()
        repository = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        found = on_site(repository)
        if found is None:
            return str(label)
        page, _, own = found.partition("#")
        link = posixpath.relpath(page, posixpath.dirname(uri) or ".")
        if anchor or own:
            link += anchor or f"#{own}"
        return f"{mark}[{label}]({link})"

    parts = _FENCE.split(text)  # code stays as it is
    return "".join(
        part if place % 2 else _LINK.sub(replaced, part) for place, part in enumerate(parts)
    )


def _anchor(heading: str) -> str:
    """Return the anchor that a heading gets, as Python-Markdown makes it."""
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower())
