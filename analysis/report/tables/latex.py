"""Tables for papers: LaTeX by booktabs, every entry escaped."""

import re

from greenbatch.analysis.findings.wording import Table

LONGEST = 45
"""Lines that fit on a page; a longer table is a ``longtable``."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u00a0": "~",
    "–": "--",
    "−": r"$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "≠": r"$\neq$",
    "…": r"\ldots{}",
    "µ": r"$\mu$",
    "°": r"$^{\circ}$",
    "’": "'",
    "₂": r"\textsubscript{2}",
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def escape(text: str) -> str:
    """Write text so that LaTeX prints it as it is.

    Letters beyond ASCII stay: pdflatex knows the Latin ones, lualatex and xelatex all.
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in _CONTROL.sub(" ", text))


def latex(table: Table) -> str:
    """Write a table as ``tabular`` (``longtable`` where it is long), without a float around it.

    Needs the package booktabs, and longtable where it is one; a comment at its head names them.
    Columns of prose are paragraphs.
    """
    width = f"p{{{0.9 / len(table.columns):.2f}\\linewidth}}" if table.wraps else "l"
    columns = "".join("r" if right else width for right in table.numeric)
    kind = "longtable" if len(table.rows) > LONGEST else "tabular"
    packages = "booktabs, longtable" if kind == "longtable" else "booktabs"
    header = _line(table.columns)
    head = [r"\toprule", header, r"\midrule"]
    if kind == "longtable":
        head += [r"\endhead", r"\bottomrule", r"\endlastfoot"]
    body = []
    for place, row in enumerate(table.rows):
        if table.groups and place and row[0] != table.rows[place - 1][0]:
            body.append(r"\addlinespace")
        body.append(_line(row))
    foot = [] if kind == "longtable" else [r"\bottomrule"]
    lines = [
        f"% {_CONTROL.sub(' ', table.title)}. Needs the packages {packages}.",
        rf"\begin{{{kind}}}{{{columns}}}",
        *head,
        *body,
        *foot,
        rf"\end{{{kind}}}",
    ]
    return "\n".join(lines) + "\n"


def _line(entries: tuple[str, ...]) -> str:
    # A line that begins with [ would be read as an option of the \\ before it.
    cells = [escape(entry) for entry in entries]
    if cells and cells[0].lstrip().startswith("["):
        cells[0] = "{}" + cells[0]
    return " & ".join(cells) + r" \\"
