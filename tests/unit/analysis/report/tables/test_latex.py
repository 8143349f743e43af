"""LaTeX tables: escaped, whole, and long where they are long."""

import re

import pytest

from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.tables.latex import LONGEST, escape, latex


def table(*rows: tuple[str, ...], name: str = "best") -> Table:
    return Table(name, "A title", ("model", "energy/image"), rows, (False, True))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("vit_b_16", r"vit\_b\_16"),
        ("12 mJ ± 1.2 %", r"12 mJ $\pm$ 1.2 \%"),
        ("3 µJ … 4 µJ", r"3 $\mu$J \ldots{} 4 $\mu$J"),
        (r"\input{/etc/passwd}", r"\textbackslash{}input\{/etc/passwd\}"),
        ("a & b # $x^2$ ~", r"a \& b \# \$x\textasciicircum{}2\$ \textasciitilde{}"),
        ("≠\u00a0spinning", r"$\neq$~spinning"),
        ("1.2× –", r"1.2$\times$ --"),
        ("two\nlines", "two lines"),
    ],
)
def test_text_is_printed_as_it_is(text: str, written: str) -> None:
    assert escape(text) == written


def test_a_table_has_the_rules_of_booktabs_and_a_gap_between_models() -> None:
    lines = latex(table(("a", "1"), ("a", "2"), ("b", "3"))).splitlines()
    assert lines == [
        "% A title. Needs the packages booktabs.",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"model & energy/image \\",
        r"\midrule",
        r"a & 1 \\",
        r"a & 2 \\",
        r"\addlinespace",
        r"b & 3 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_long_table_may_break_over_pages() -> None:
    text = latex(table(*(("a", str(n)) for n in range(LONGEST + 1))))
    assert r"\begin{longtable}{lr}" in text
    assert text.index(r"\endhead") < text.index(r"\endlastfoot") < text.index(r"a & 0 \\")
    assert text.endswith("\\end{longtable}\n")


def test_a_hostile_entry_cannot_end_a_line_or_open_a_command() -> None:
    text = latex(table((r"\end{tabular} & % {", "1"), ("[2cm]", "2"), name="artifacts"))
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()
    assert len(body) == 2
    assert all(len(re.findall(r"(?<!\\)&", line)) == 1 for line in body)
    assert not any(re.search(r"(?<!\\)%", line) for line in body)
    assert body[1].startswith("{}[2cm]")
