"""The command line: verbs and their options, no logic. Rooms are imported inside the verbs, so that --help answers at once."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

import evenhand
from evenhand import ranks
from evenhand.cli.alignment import align
from evenhand.cli.certificates import certify, verify
from evenhand.cli.comparisons import compare, sweep
from evenhand.cli.diff import diff
from evenhand.cli.exports import export
from evenhand.cli.generation import generate
from evenhand.cli.policies import transfer
from evenhand.cli.scoring import score
from evenhand.cli.selection import choose, select
from evenhand.cli.serving import serve
from evenhand.cli.terminal import tell
from evenhand.cli.texts import audit_text, grid
from evenhand.cli.usage import Verbs
from evenhand.cli.verbs import audit, check, demo, fit
from evenhand.cli.view import view

LATER = 5.0  # seconds that other ranks than the first keep an error: where all have the same, torchrun ends them once the first has told it

app = typer.Typer(
    name="evenhand",
    cls=Verbs,
    help="Find whom a reward model serves worse, train one that serves them better, and report it.\n\n"
    "Exit codes: 0 all requirements PASS, 1 a FAIL, 2 usage or data error, 3 INSUFFICIENT data, "
    "70 a defect of this program, 130 interrupted (run again to go on).",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)


def version(show: bool) -> None:
    if show:
        print(f"evenhand {evenhand.__version__}")
        raise typer.Exit


@app.callback()
def root(
    show: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    pass


app.command(epilog="Example: `evenhand check choices.jsonl --column user=annotator --group-by country`")(check)
app.command(
    epilog="Examples: `evenhand audit DATA --scores reward_chosen,reward_rejected` · `evenhand audit DATA --model out/model`",
    context_settings={"allow_extra_args": True},  # two score columns without a comma get an answer of their own
)(audit)
app.command(epilog="Example: `evenhand fit choices.jsonl --method pafo --out out --require 'gain(minority)>=0'`")(fit)
app.command(epilog="Example: `evenhand score out/model pairs.jsonl --history choices.jsonl --out scored.csv`")(score)
app.command(epilog="Example: `evenhand serve out/model --history choices.jsonl`")(serve)
app.command(
    epilog="Examples: `evenhand export out/model --to hf-code` · `evenhand export out/model --to peft --user all --history choices.jsonl`"
)(export)
app.command(epilog="Example: `evenhand demo --out out/demo`")(demo)
app.command(epilog="Example: `evenhand compare choices.jsonl --methods pafo,lore,p_rlhf --seeds 5`")(compare)
app.command(epilog="Example: `evenhand sweep choices.jsonl --over alpha=0.1,0.25,0.5 --over balance=0,0.5,1 --seeds 5`")(sweep)
app.command(epilog="Example: `evenhand transfer candidates.jsonl --reward reward --event toxic --betas 0.1,1,4 --ns 1,4,16`")(transfer)
app.command(epilog="Example: `evenhand certify out/model choices.jsonl --notion eo --gamma 0.1 --delta 0.05 --group-by taste`")(certify)
app.command(epilog="Example: `evenhand verify certificate/certificate.json out/model choices.jsonl`")(verify)
app.command(epilog="Examples: `evenhand grid climate` · `evenhand grid flu.toml --out prompts.jsonl`")(grid)
app.command("audit-text", epilog="Example: `evenhand audit-text texts.jsonl --grid climate`")(audit_text)
app.command(
    epilog="Examples: `evenhand generate climate --model smollm2 --out texts.jsonl` · `evenhand generate flu.toml --endpoint http://localhost:8000`"
)(generate)
app.command(epilog="Example: `evenhand select candidates.jsonl --grid climate --out selected`")(select)
app.command(epilog="Example: `evenhand choose audit/original audit/selected audit/trained`")(choose)
app.command(epilog="Examples: `evenhand align climate --model smollm2 --train --out out` · `evenhand align --demo`")(align)
app.command(epilog="Example: `evenhand diff before/audit after/audit`")(diff)
app.command(epilog="Example: `evenhand view runs`")(view)


def main() -> None:
    """Entry point. An error that a user can mend is one line on stderr and exit code 2; a defect of this program is 70, never a verdict."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads on two busy cores are 5-12 times slower than one
    from evenhand.core import EvenhandError

    try:
        _answer()
    except EvenhandError as error:
        fail(2, f"error: {error}")
    except (KeyboardInterrupt, SystemExit) as leaving:  # the command-line library turns an interrupt inside a verb into the latter
        if isinstance(leaving, SystemExit) and leaving.code != 130:
            raise
        kept = "what was finished is kept (encoded and written texts, rewards, shards, trials, steps of a language model, a trained model); run the same command again to go on."
        fail(130, f"interrupted: {'requests under way were finished.' if sys.argv[1:2] == ['serve'] else kept}")
    except OSError as error:
        where = f" '{Path(error.filename).name}'" if error.filename else ""
        place = "a place that can be read and written"
        fail(2, f"error: {error.strerror or error}{where}. Expected: {place}. To do: check paths, rights and room.")
    except Exception as error:
        if os.environ.get("EVENHAND_DEBUG"):
            raise
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            fail(
                2,
                "error: not enough memory. Expected: room for this data and these settings. To do: fewer dimensions (--dim), rank or pairs.",
            )
        told = f"internal error: {type(error).__name__}. This is a defect of evenhand; EVENHAND_DEBUG=1 shows where."
        fail(70, f"{told} To do: please report it.")


def _answer() -> None:
    """The verb, by all processes of torchrun together."""
    with ranks.together():
        if ranks.count() > 1:
            tell(f"{ranks.count()} processes work together")
        try:
            app()
        except SystemExit as leaving:
            if leaving.code == 130:
                raise
            if leaving.code in (1, 3) and ranks.restarted():  # a verdict is no failure, for which all would be done once more
                tell(f"exit code 0 and not {leaving.code}: with --max-restarts torchrun would start again")
                leaving.code = 0
            if ranks.count() == 1:
                raise
            ranks.wait()  # whoever leaves with a verdict makes torchrun end the others, of which one may be writing
            ranks.leave()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(
                int(leaving.code or 0)
            )  # at once: threads that served the others abort some processes whose interpreter ends before them


def fail(code: int, told: str) -> None:
    if os.environ.get("RANK", "0") != "0":
        time.sleep(LATER)
    tell(told)
    sys.exit(code)
