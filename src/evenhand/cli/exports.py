"""The verb that writes a model for other libraries."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from evenhand.cli.options import DATA, MODEL, OUTPUT, EncoderAt, OutsideHead, SavedModel, option
from evenhand.cli.reading import Rows, verb
from evenhand.cli.terminal import say


class Form(StrEnum):
    hf = "hf"
    hf_code = "hf-code"
    peft = "peft"


@verb
def export(
    *,
    model: SavedModel,
    to: Annotated[Form, option(OUTPUT)] = Form.hf,
    user: Annotated[str, option(MODEL)],
    history: Annotated[Path | None, option(DATA)],
    reading: Rows,
    keep_adapter: Annotated[bool, option(MODEL, "--keep-adapter")],
    base: Annotated[str | None, option(MODEL)],
    keep_ids: Annotated[bool, option(OUTPUT, "--keep-ids")],
    head: OutsideHead,
    encoder_at: EncoderAt,
    out: Annotated[Path, option(OUTPUT)] = Path("exported"),
) -> None:
    """Write MODEL as a folder that transformers, PEFT and vLLM read, with a model card."""
    from evenhand.serve.exporting.folders import check_place
    from evenhand.workflows.export import export as run

    check_place(out)
    known = None if history is None else reading.load(history)
    done = run(
        model, out, to=to.value, user=user, history=known, keep_adapter=keep_adapter, base=base, keep_ids=keep_ids, head=head, encoder_at=encoder_at
    )  # fmt: skip
    own = sum(name != "everybody" for name in done.users)
    told = (["one user" if own == 1 else f"{own:,} users"] if own else []) + ["the reward for everybody"] * (own < len(done.users))
    say(f"exported for {' and '.join(told)}: {out}")
    if any(done.constant.values()):
        say("Rewards there are the model's less a constant of the user, which no difference between responses has; README.md says more.")
