"""The verbs of certificates: issue one, verify one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import check_place
from evenhand.cli.options import (
    CONSTRAINTS,
    OUTPUT,
    Cache,
    Data,
    EncoderAt,
    LeaveOut,
    Note,
    OutsideHead,
    Pdf,
    SavedModel,
    Swap,
    Title,
    option,
)
from evenhand.cli.reading import Reading, verb
from evenhand.cli.terminal import say, tell


class Notion(StrEnum):
    dp = "dp"
    eo = "eo"
    cf = "cf"


class Decision(StrEnum):
    soft = "soft"
    hard = "hard"


class Bound(StrEnum):
    betting = "betting"
    empirical_bernstein = "empirical_bernstein"
    hoeffding = "hoeffding"


TermsFile = Annotated[Path | None, option(CONSTRAINTS, "--mentions", help="JSON file of identities and their terms: the events.")]
NOT_ENOUGH = 3  # exit code of an event with too few users, as of INSUFFICIENT


@verb
def certify(
    *,
    model: SavedModel,
    data: Data,
    reading: Reading,
    head: OutsideHead,
    encoder_at: EncoderAt,
    cache: Cache,
    gamma: Annotated[float, option(CONSTRAINTS)],
    notion: Annotated[Notion, option(CONSTRAINTS)] = Notion.dp,
    delta: Annotated[float, option(CONSTRAINTS)],
    decision: Annotated[Decision, option(CONSTRAINTS)] = Decision.soft,
    bound: Annotated[Bound, option(CONSTRAINTS)] = Bound.betting,
    mentions: TermsFile,
    swap: Swap = None,
    leave_out: LeaveOut = None,
    unseen_only: Annotated[bool, option(CONSTRAINTS, "--unseen-users")],
    title: Title,
    note: Note,
    pdf: Pdf = False,
    out: Annotated[Path, option(OUTPUT, help="Folder for certificate.json and the page beside it.")] = Path("certificate"),
) -> None:
    """Certify that MODEL's gap between events is at most gamma, on pairs of DATA that its training did not see.

    Exit codes: 0 certified, 1 not certified, 2 usage or data error, 3 too few users in an event.
    """
    from evenhand.audits.certificate import TooFewUsers, check_request
    from evenhand.report.certificate import CERTIFICATE
    from evenhand.report.terminal import lines
    from evenhand.workflows.certify import certify as run
    from evenhand.workflows.pdf import beside

    check_request(notion.value, gamma, delta, bound.value)
    check_place(out, CERTIFICATE.files, CERTIFICATE.name, reading.bad_rows_to, pdf=pdf)
    loaded = reading.load(data, swap=swap)
    try:
        report = run(
            model,
            loaded,
            notion.value,
            gamma,
            delta,
            decision=decision.value,
            bound=bound.value,
            head=head,
            encoder_at=encoder_at,
            group_by=reading.group_by,
            mentions=mentions,
            leave_out=leave_out or (),
            unseen_only=unseen_only,
            title=title,
            note=note,
            read_as=reading.how(),
            cache=cache,
        )
    except TooFewUsers as error:
        tell(f"INSUFFICIENT: {error}")
        raise typer.Exit(NOT_ENOUGH) from None
    path = beside(report.save(out), pdf)
    say(*lines(report.page), f"certificate: {path.with_suffix('.json')}")
    raise typer.Exit(report.exit_code)


@verb
def verify(
    *,
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="certificate.json")],
    model: SavedModel,
    data: Data,
    head: OutsideHead,
    encoder_at: EncoderAt,
    cache: Cache,
    mentions: TermsFile = None,
    swap: Swap = None,
) -> None:
    """Compute a certificate again from MODEL and DATA, and refuse it at the first field that differs.

    DATA is read as the certificate says. Exit codes: 0 verified (certified or not: every field is right), 1 refused, 2 usage or data error.
    """
    from evenhand.workflows.sealed import Refused
    from evenhand.workflows.verify import verify as run

    try:
        report = run(certificate, model, data, head=head, encoder_at=encoder_at, mentions=mentions, swap=swap, cache=cache)
    except Refused as error:
        tell(str(error))
        raise typer.Exit(1) from None
    say(f"VERIFIED: every field is as computed again. {report.page.headline}", *report.page.said[:2])
