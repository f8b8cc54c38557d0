"""The verb that has texts written."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.options import LANGUAGE_MODEL, MACHINES, OUTPUT, Address, Device, Engine, option
from evenhand.cli.reading import verb
from evenhand.cli.terminal import say, tell

ENDPOINT, SAMPLING, REVISION = "Endpoint", "Sampling", "Revision"  # panels of --help
SHOWN = 5  # cells without a text


class Numbers(StrEnum):
    bfloat16 = "bfloat16"
    float32 = "float32"


@verb
def generate(
    *,
    prompts: Annotated[str, typer.Argument(metavar="PROMPTS")],
    model: Annotated[str | None, option(LANGUAGE_MODEL)],
    adapter: Annotated[Path | None, option(LANGUAGE_MODEL)],
    device: Device,
    dtype: Annotated[Numbers | None, option(LANGUAGE_MODEL)],
    batch: Annotated[int, option(LANGUAGE_MODEL, min=1)],
    endpoint: Annotated[str | None, option(ENDPOINT)],
    parallel: Annotated[int, option(ENDPOINT, min=1)],
    timeout: Annotated[float, option(ENDPOINT)],
    jobs: Annotated[int | None, option(MACHINES, min=0)],
    engine: Engine,
    address: Address,
    k: Annotated[int | None, option(SAMPLING, "--k", min=1)],
    temperature: Annotated[float, option(SAMPLING)],
    top_p: Annotated[float, option(SAMPLING, "--top-p")],
    max_tokens: Annotated[int, option(SAMPLING, min=1)],
    most_words: Annotated[int, option(SAMPLING, min=1)],
    wording: Annotated[str | None, option(SAMPLING)],
    seed: Annotated[int, option(SAMPLING, min=0)],
    revise: Annotated[Path | None, option(REVISION)],
    reviser: Annotated[str | None, option(REVISION)],
    counterpart: Annotated[bool, option(REVISION, "--counterpart")],
    axis: Annotated[str | None, option(REVISION)],
    run: Annotated[str | None, option(OUTPUT, "--run")],
    source: Annotated[str | None, option(OUTPUT, "--source")],
    out: Annotated[Path, option(OUTPUT)] = Path("texts.jsonl"),
) -> None:
    """Have k texts written for each prompt of a grid, by a language model here or behind an endpoint; or have texts revised."""
    from evenhand.workflows.generate import generate as run_it

    made = run_it(
        prompts,
        out=out,
        model=model,
        endpoint=endpoint,
        adapter=adapter,
        k=k,
        temperature=temperature,
        top_p=top_p,
        max_tokens=max_tokens,
        most_words=most_words,
        seed=seed,
        wording=wording,
        revise=revise,
        reviser=reviser,
        counterpart=counterpart,
        axis=axis,
        jobs=jobs,
        engine=str(engine),
        address=address,
        run=run,
        source=source,
        device=device,
        dtype=None if dtype is None else dtype.value,
        batch=batch,
        parallel=parallel,
        timeout=timeout,
    )
    for cell, reasons in list(made.failures.items())[:SHOWN]:
        tell(f"no text for {cell}: {', '.join(f'{why} ({n})' for why, n in reasons.items())}")
    if len(made.failures) > SHOWN:
        tell(f"… and for {len(made.failures) - SHOWN:,} more cells, listed in {made.path.with_suffix('.json').name}")
    missing = f", {made.failed:,} did not come" if made.failed else ""
    say(
        f"{len(made.rows):,} texts of {len({row['prompt'] for row in made.rows}):,} prompts by {made.settings['model']}{missing}: {made.path}"
    )
