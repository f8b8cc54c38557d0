"""The verbs of certificates: issue one, verify one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evenhand.cli.inputs import check_place
from evenhand.cli.options import Cache, Data, Pdf, Swap
from evenhand.cli.reading import Reading, reads
from evenhand.cli.terminal import progress_bar, say, tell


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


Model = Annotated[Path, typer.Argument(help="Folder of a saved model.", show_default=False)]
MentionsFile = Annotated[
    Path | None, typer.Option("--mentions", help="JSON file of identities and their terms: the events.", show_default=False)
]
NOT_ENOUGH = 3  # exit code of an event with too few users, as of INSUFFICIENT


@reads
def certify(
    *,
    model: Model,
    data: Data,
    gamma: Annotated[float, typer.Option(help="Largest accepted gap, above 0 and at most 1.", show_default=False)],
    notion: Annotated[Notion, typer.Option(help="Demographic parity, equalized odds, or counterfactual fairness.")] = Notion.dp,
    delta: Annotated[float, typer.Option(help="Probability with which the statement may be wrong.")] = 0.05,
    decision: Annotated[Decision, typer.Option(help="soft: probabilities; hard: choices.")] = Decision.soft,
    bound: Annotated[Bound, typer.Option(help="Bound on means over users.")] = Bound.betting,
    reading: Reading,
    mentions: MentionsFile = None,
    swap: Swap = None,
    leave_out: Annotated[list[str] | None, typer.Option(help="An event that is not compared. May be repeated.", show_default=False)] = None,
    unseen_users: Annotated[bool, typer.Option("--unseen-users", help="Users without a training pair alone.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for certificate.json and the page beside it.")] = Path("certificate"),
    pdf: Pdf = False,
    cache: Cache = None,
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
    check_place(out, CERTIFICATE.files, CERTIFICATE.name, reading.bad_rows, pdf=pdf)
    loaded = reading.load(data, swap=swap)
    try:
        with progress_bar() as progress:
            report = run(
                model,
                loaded,
                notion.value,
                gamma,
                delta,
                decision=decision.value,
                bound=bound.value,
                group_by=reading.group_by or (),
                mentions=mentions,
                leave_out=leave_out or (),
                unseen_only=unseen_users,
                read=reading.how(),
                cache=cache,
                progress=progress,
            )
    except TooFewUsers as error:
        tell(f"INSUFFICIENT: {error}")
        raise typer.Exit(NOT_ENOUGH) from None
    path = beside(report.save(out), pdf)
    say(*lines(report.page), f"certificate: {path.with_suffix('.json')}")
    raise typer.Exit(report.exit_code)


def verify(
    certificate: Annotated[Path, typer.Argument(help="certificate.json", show_default=False)],
    model: Model,
    data: Data,
    mentions: MentionsFile = None,
    swap: Swap = None,
    cache: Cache = None,
) -> None:
    """Compute a certificate again from MODEL and DATA, and refuse it at the first field that differs.

    DATA is read as the certificate says. Exit codes: 0 verified (certified or not: every field is right), 1 refused, 2 usage or data error.
    """
    from evenhand.data.load import load
    from evenhand.workflows.compared import with_events
    from evenhand.workflows.sealed import Refused, read_document
    from evenhand.workflows.verify import request
    from evenhand.workflows.verify import verify as run

    try:
        asked = request(read_document(certificate))
        how = dict(asked.read or {"source": None, "columns": {}, "on_bad": "error"})
        loaded = with_events(load(data, attributes=asked.group_by, **how), None, swap)
        with progress_bar() as progress:
            report = run(certificate, model, loaded, mentions=mentions, cache=cache, progress=progress)
    except Refused as error:
        tell(str(error))
        raise typer.Exit(1) from None
    say(f"VERIFIED: every field is as computed again. {report.page.headline}", *report.page.said[:2])
