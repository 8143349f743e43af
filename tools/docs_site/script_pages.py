"""The page of the example scripts: each file as it is in ``examples/``."""

import json
import re
from pathlib import Path

_LANGUAGES = {".py": "python", ".sh": "sh", ".R": "r", ".ipynb": "python"}


def scripts_page(folder: Path) -> str:
    """Return the page, in Markdown.

    Args:
        folder: ``examples/``; its README links the files that are shown.
    """
    readme = (folder / "README.md").read_text(encoding="utf-8")
    lines = [readme.rstrip().replace("# Examples", "# Example scripts", 1)]
    for name in re.findall(r"^\| \[[^]]+\]\(([^)]+)\)", readme, re.MULTILINE):
        file = folder / name
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".ipynb":
            text = "\n\n".join(_cells(text))
        lines += ["", f"## {name}", "", f"```{_LANGUAGES[file.suffix]}", text.rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _cells(notebook: str) -> list[str]:
    return [
        "".join(cell["source"])
        for cell in json.loads(notebook)["cells"]
        if cell["cell_type"] == "code"
    ]
