"""The verb that shows many runs as a local web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.options import OUTPUT, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import say


@verb
def view(
    *,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER")] = Path("."),
    host: Annotated[str, option(OUTPUT)],
    port: Annotated[int, option(OUTPUT, min=0, max=65_535)],
    show_text: Annotated[bool, option(OUTPUT, "--show-text")],
) -> None:
    """Show the runs under FOLDER as a local web page: a table, each one's report, two side by side. It ends with Ctrl-C."""
    from evenhand.workflows.view import view as run

    run(folder, host=host, port=port, show_text=show_text, ready=lambda address: say(f"runs of {folder}: {address} (Ctrl-C ends it)"))
