"""The verb that scores candidates and pairs."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import assignments
from evenhand.cli.options import DATA, MACHINES, OUTPUT, Address, Cache, EncoderAt, Engine, ModelUnlessHub, OutsideHead, Texts, option
from evenhand.cli.reading import Hub, Rows, verb
from evenhand.cli.terminal import say, tell


@verb
def score(
    *,
    model: ModelUnlessHub,
    data: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="A table of candidates (prompt, response), pairs or messages; else as for `audit`."),
    ],
    reading: Rows,
    history: Annotated[Path | None, option(DATA)],
    history_column: Annotated[Texts, option(DATA, help="As --column, for the history; default: the same names.")] = None,
    leave_own_out: Annotated[bool, option(DATA, "--leave-own-out")],
    hub: Hub,
    head: OutsideHead,
    encoder_at: EncoderAt,
    cache: Cache,
    best: Annotated[int | None, option(OUTPUT, min=1)],
    reward: Annotated[str, option(OUTPUT)],
    jobs: Annotated[int | None, option(MACHINES, min=0)],
    engine: Engine,
    address: Address,
    out: Annotated[Path, option(OUTPUT, help="The rows with their rewards: .csv, .jsonl or .parquet.")] = Path("scores.csv"),
) -> None:
    """Score candidates or pairs of DATA with a saved model, each user read from his or her pairs in --history, or with one of the hub's format.

    A candidate gets reward and rank among those of the same user and prompt; a pair reward_chosen, reward_rejected and margin. Run it again to go on.
    """
    from evenhand.core import DataError, clip
    from evenhand.workflows import finished_parts
    from evenhand.workflows.score import ALIKE_USERS, NO_HISTORY, placed
    from evenhand.workflows.score import score as run
    from evenhand.workflows.scored_rows import KIND, check_ending
    from evenhand.writing import check

    if out.is_dir():
        raise DataError("--out is a folder", expected="a file", remedy="name a CSV file", file=out.name)
    check_ending(out)
    check(out.parent, [out.name], KIND)
    reward_model = hub.model()
    model, data = placed(model, data, reward_model)
    columns = reading.how()
    with warnings.catch_warnings():
        for said in (NO_HISTORY, f".*{re.escape(ALIKE_USERS)}"):
            warnings.filterwarnings("ignore", said)  # said below as this command line says things
        scored = run(
            model,
            data,
            history,
            reward_model=reward_model,
            head=head,
            encoder_at=encoder_at,
            leave_own_out=leave_own_out,
            best=best,
            reward=reward,
            source=reading.source,
            columns=columns["columns"],
            history_columns=None if history_column is None else assignments(history_column, "--history-column", "user=annotator_id"),
            on_bad=reading.on_bad.value,
            one_user=reading.one_user,
            min_strength=reading.min_strength,
            unfinished=finished_parts.beside(out),
            jobs=jobs,
            engine=str(engine),
            address=address,
            cache=cache,
        )
    scored.save(out)
    finished_parts.clear(finished_parts.beside(out))
    read = "by a model that reads no user" if reward_model else f"{scored.known:,} of them with a history"
    whose = f" of {scored.users:,} {'user' if scored.users == 1 else 'users'}" if scored.users else ""
    told = f"{len(scored):,} {scored.kind}{whose} scored, {read}: {out}"
    if scored.left_out and leave_own_out:
        told += f"\n{scored.left_out:,} of them without their own pair in the history"
    elif scored.left_out:
        told += (
            f"\n{scored.left_out:,} pairs of the history were not read, since they are scored themselves (--leave-own-out reads the others)"
        )
    if scored.skipped:
        told += f"\n{scored.skipped:,} bad rows were left out"
    if scored.cut:
        told += f"\n{scored.cut:,} {scored.kind} have a text that the model did not read whole"
    if scored.moved:
        told += "\n" + ", ".join(f"the data's own '{clip(name)}' is '{clip(other)}' now" for name, other in scored.moved.items())
    say(told)
    if scored.alike:
        tell(f"warning: {scored.alike:,} {ALIKE_USERS} To do: evenhand check, and write ids one way.")
    if history is not None and not scored.known:
        tell(f"warning: {NO_HISTORY}{' To do: --leave-own-out.' if scored.left_out else ''}")
