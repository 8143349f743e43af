"""The templates: what they show is there, or it is an error."""

from dataclasses import replace
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from greenbatch.analysis import compile_dataset
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.report.findings import find
from greenbatch.analysis.report.inference_page import InferencePage, inference_page
from greenbatch.analysis.report.page import Files, Overview, Part
from greenbatch.analysis.report.render import environment, render, scripts, written_into
from greenbatch.errors import RunError
from tests.fakes import runs

FILES = Files(data="../dataset.nc", figures=[])


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> InferencePage:
    run = runs.realistic_run(
        tmp_path_factory.mktemp("run"), models=("alexnet",), batch_sizes=(1,), blocks=1
    )
    dataset = compile_dataset(run)
    return inference_page(dataset, find(dataset, read_run(run).journal))


@pytest.mark.parametrize(
    ("template", "stray"),
    [
        ("report.md.j2", "{{ page.cover.no_such_name }}"),
        ("report.md.j2", "{{ title }}"),
        ("report.md.j2", "{% if page.caveats.grave %}{% endif %}"),
        ("report.html.j2", "{% for section in page.figures.charts %}{% endfor %}"),
        ("report.html.j2", '{% from "parts.html.j2" import show %}{{ show(page.cover) }}'),
    ],
)
def test_a_stray_name_in_a_template_is_an_error(
    page: InferencePage, template: str, stray: str
) -> None:
    jinja = environment(template.endswith(".html.j2"))
    assert jinja.loader is not None
    source, _, _ = jinja.loader.get_source(jinja, template)
    script = scripts(page.figures.sections, page.figures.styles)
    assert jinja.from_string(source).render(page=page, files=FILES, script=script)
    with pytest.raises(UndefinedError):
        jinja.from_string(source + stray).render(page=page, files=FILES, script=script)


def test_a_title_is_text_on_a_page_and_in_markdown(page: InferencePage) -> None:
    named = replace(page, cover=replace(page.cover, title="<b>*a*</b>"))
    script = scripts(page.figures.sections, page.figures.styles)
    html = render("report.html.j2", page=named, files=FILES, script=script)
    assert "<h1>&lt;b&gt;*a*&lt;/b&gt;</h1>" in html
    assert r"&lt;b>\*a\*&lt;/b>" in render("report.md.j2", page=named, files=FILES)


def test_a_number_and_its_unit_stay_in_one_line_of_a_page() -> None:
    text = "5.1 J, 12 ms to 3 µs, 7 % of 81 W, 2 GB; 3 Wide 4 samples, a W <"
    shown = (
        environment(html=True)
        .from_string("<p>{{ text }}</p><i>{{ done }}</i>1 J")
        .render(text=text, done=Markup("1 J"))
    )
    kept = "5.1\xa0J, 12\xa0ms to 3\xa0µs, 7\xa0% of 81\xa0W, 2\xa0GB"
    assert shown == f"<p>{kept}; 3 Wide 4 samples, a W &lt;</p><i>1 J</i>1 J"
    assert environment(html=False).from_string("{{ text }}").render(text="5 J") == "5 J"


def test_an_overview_shows_every_part() -> None:
    parts = [Part(name, f"{name}/index.html", "", f"{name} is best.") for name in ("a", "b")]
    overview = Overview(
        title="two", source="", eyebrow="", along="run", parts=parts, closing="The end."
    )
    html = render("overview.html.j2", page=overview, script=scripts((), ()))
    assert "2 runs side by side" in html
    assert all(f'<a href="{part.href}">{part.label}</a>' in html for part in parts)


def test_a_missing_file_of_the_package_is_not_one_of_the_report(tmp_path: Path) -> None:
    lacking = tmp_path / "package" / "glossary.md"
    with pytest.raises(FileNotFoundError, match=r"glossary\.md"), written_into(tmp_path / "report"):
        lacking.read_text(encoding="utf-8")
    with pytest.raises(RunError, match=r"index\.html is not written"), written_into(tmp_path):
        (tmp_path / "gone" / "table.tex").write_text("", encoding="utf-8")
