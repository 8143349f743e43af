"""Pages of the documentation site that are made from the code, and links that leave ``docs/``."""

from pathlib import Path

import pytest

from greenbatch.cli.commands import COMMANDS
from tools.docs_site.cli_pages import cli_page
from tools.docs_site.links import rewrite
from tools.docs_site.schema_pages import schema_page
from tools.docs_site.script_pages import scripts_page

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.mark.parametrize(
    ("link", "path", "uri", "rewritten"),
    [
        ("[m](method.md#x)", "docs/report.md", "report.md", "[m](method.md#x)"),
        ("[s](../SECURITY.md)", "docs/report.md", "report.md", "[s](project/security.md)"),
        ("[d](docs/meters.md)", "CONTRIBUTING.md", "project/contributing.md", "[d](../meters.md)"),
        ("[r](../tests/x/README.md)", "docs/method.md", "method.md", "r"),
        ("[c](../examples/ci_gate.sh)", "docs/ci.md", "ci.md", "[c](scripts.md#ci_gatesh)"),
        ("![p](report.png)", "docs/index.md", "index.md", "![p](report.png)"),
        ("[u](https://a.example/b.md)", "docs/ci.md", "ci.md", "[u](https://a.example/b.md)"),
        ("```\n[a](../SECURITY.md)\n```", "docs/ci.md", "ci.md", "```\n[a](../SECURITY.md)\n```"),
        (
            "[r](docs/examples/a/report/report.md)",
            "README.md",
            "index.md",
            "[r](examples/a/report/index.html)",
        ),
    ],
)
def test_links_lead_to_the_sites_page_or_are_text(
    link: str, path: str, uri: str, rewritten: str
) -> None:
    assert rewrite(link, path, uri) == rewritten


def test_every_command_has_a_section_and_every_option_a_row() -> None:
    page = cli_page()
    for name in COMMANDS:
        assert f"\n## gb {name}\n" in page
    assert "\n### gb study run\n" in page
    assert "| `--batch-sizes TEXT` | Batch sizes in images, e.g. 1,8,32" in page
    assert "<str>" not in page


def test_the_schema_has_the_units_and_dimensions_of_each_variable() -> None:
    page = schema_page()
    row = next(line for line in page.splitlines() if line.startswith("| `energy_per_image` "))
    assert row.split(" | ")[1:] == [
        "J",
        "gross energy per image over the domains that count",
        "model, variant, batch_size, repetition",
        "number |",
    ]


def test_the_examples_are_shown_as_they_are() -> None:
    page = scripts_page(EXAMPLES)
    assert (EXAMPLES / "ci_gate.sh").read_text() in page
    assert "## own_network.py" in page
    assert "xr.open_dataset(" in page
