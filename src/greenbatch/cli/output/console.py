"""The console that every command prints tables and progress on."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from greenbatch.plain_text import visible

WIDTH_ELSEWHERE = 120
"""Columns where there is no terminal: a pipe or a file has no width of its own."""


class TextConsole(Console):
    """A console on which text is text: neither markup nor control characters act.

    Names, reasons and settings come from files that anybody may have written.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text of a string; Rich calls it for every string that it is handed."""
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render a text, a table or one of its entries."""
        return super().render(_plain(renderable), options)


def open_console(width: int = WIDTH_ELSEWHERE) -> TextConsole:
    """Return the console of standard output, of ``width`` columns where that is no terminal."""
    console = TextConsole()
    if not console.is_terminal:
        console.width = width
    return console


def _plain(renderable: RenderableType) -> RenderableType:
    if not isinstance(renderable, Text) or visible(renderable.plain) == renderable.plain:
        return renderable
    return Text(
        visible(renderable.plain),
        renderable.style,
        justify=renderable.justify,
        overflow=renderable.overflow,
        no_wrap=renderable.no_wrap,
    )
