"""The verb that has texts written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.options import DATA, LANGUAGE_MODEL, MODEL, OUTPUT, Device, Seed, option
from evenhand.cli.reading import verb

ENDPOINT, REVISION = "Endpoint", "Revision"  # panels of --help


@verb
def generate(
    *,
    prompts: Annotated[str, typer.Argument(metavar="PROMPTS")],
    model: Annotated[str | None, option(LANGUAGE_MODEL)],
    adapter: Annotated[Path | None, option(LANGUAGE_MODEL)],
    device: Device,
    dtype: Annotated[str | None, option(LANGUAGE_MODEL)],
    batch: Annotated[int, option(LANGUAGE_MODEL, min=1)],
    endpoint: Annotated[str | None, option(ENDPOINT)],
    parallel: Annotated[int, option(ENDPOINT, min=1)],
    timeout: Annotated[float, option(ENDPOINT)],
    k: Annotated[int | None, option(MODEL, "--k", min=1)],
    temperature: Annotated[float, option(MODEL)],
    top_p: Annotated[float, option(MODEL, "--top-p")],
    max_tokens: Annotated[int, option(MODEL, min=1)],
    most_words: Annotated[int, option(MODEL, min=1)],
    wording: Annotated[str | None, option(MODEL)],
    seed: Seed,
    revise: Annotated[Path | None, option(REVISION)],
    reviser: Annotated[str | None, option(REVISION)],
    counterpart: Annotated[bool, option(REVISION, "--counterpart")],
    axis: Annotated[str | None, option(REVISION)],
    run: Annotated[str | None, option(OUTPUT, "--run")],
    source: Annotated[str | None, option(DATA, "--as")],
    out: Annotated[Path, option(OUTPUT)] = Path("texts.jsonl"),
) -> None:
    """Have k texts written for each prompt of a grid, by a language model here or behind an endpoint; or have texts revised."""
    raise NotImplementedError
