"""A certificate as a user holds it: certificate.json, the page and the Markdown beside it, and the lines of the terminal (panel 11)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from evenhand.core import NOTIONS
from evenhand.report.layout import Figure, Panel, Table, drawn, listed
from evenhand.report.old_html import render, title
from evenhand.report.old_markdown import table, text
from evenhand.report.rowplots import MOST_ROWS, ROW, counts_note, fit, points, row_labels
from evenhand.report.svg import Canvas, draw
from evenhand.report.words import NONE, count
from evenhand.writing import write

Json = dict[str, Any]
KIND, FILES = "certificate", ("certificate.html", "certificate.md", "certificate.json")
CHECK = "evenhand verify certificate.json MODEL DATA"
HOW_TO_VERIFY = (
    f"Run {CHECK} with the model's folder and the data file: everything on this page is computed again from them, and the certificate is "
    "refused at the first field that differs.",
    "The seal is a SHA-256 over the other fields. It shows a change, but it is no signature: whoever changes a field can seal again. What "
    "holds is what verify computes, so run it on a model and data that you trust.",
    "Needed: the same version of evenhand, as the program's own files are part of the certificate.",
)


@dataclass(frozen=True, repr=False)
class CertificateReport:
    """document: certificate.json. needed: users each event would need for a certificate, None = no number helps; () where certified.

    `needed` is a plan, no claim: it is shown, and is not part of the document.
    """

    document: Json
    needed: tuple[int | None, ...] = ()

    @property
    def certified(self) -> bool:
        return bool(self.document["certified"])

    @property
    def headline(self) -> str:
        """CERTIFIED or NOT CERTIFIED, with what is compared."""
        return f"{'CERTIFIED' if self.certified else 'NOT CERTIFIED'}: gap at most {self.document['d_upper']:.4f}, gamma {self.document['gamma']:g}"

    def html(self) -> str:
        """One self-contained page: no script, no request, light and dark, fit for print."""
        said = self.document
        hashes = {"model sha256": said["model"]["sha256"], "data file sha256": said["data"]["file_sha256"], "seal sha256": said["seal"]}
        page = {"title": _title(said), "simulated": False, "facts": hashes, "command": CHECK}
        return render(
            "certificate.html.j2", page, self._panels(), kind="certificate", files="certificate.json and certificate.md", headline=self.headline,
            tone="pass" if self.certified else "fail" if said["d_hat"] > said["gamma"] else "insufficient", sign="✓" if self.certified else "✕",
            meaning=title(meaning(said)), summary=said["claim"],
        )  # fmt: skip

    def _panels(self) -> tuple[Panel, ...]:
        said = self.document
        numbers = listed("The numbers", ("quantity", "value"), numbers_of(said), "certificate.json", text=(0, 1))
        made = listed("How it was made", ("fact", "value"), _facts(said), "certificate.json", text=(0, 1))
        panels = [
            Panel("claim", "What is claimed", (), (numbers,)),
            Panel("events", "The events", (_figure(said),), (), (said["events_rule"],)),
            Panel("made", "Model, data, split, program", (), (made,), (said["split"]["checked"],)),
            Panel("not-claimed", "What is not claimed", notes=tuple(said["not_claimed"])),
            Panel("verify", "How to verify it", notes=HOW_TO_VERIFY),
        ]
        if not self.certified:
            panels.insert(2, Panel("needed", "How many users it would take", (), (self._needed_table(),), (_needed_note(said),)))
        return tuple(panels)

    def _needed_table(self) -> Table:
        return listed("Users an event would need, rates and spreads as they are", *self.users_needed(), "certificate.json")

    def users_needed(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """(columns, rows) of the table of users: event, rate, users there are, users needed."""
        rows: list[tuple[str, ...]] = [
            (e["name"], f"{e['q']:.4f}", count(e["n_users"]), "no number helps" if n is None else f"about {count(_rounded(n))}")
            for e, n in zip(self.document["events"], self.needed)
        ]
        return ("event", "rate", "users", "users needed"), rows

    def markdown(self) -> str:
        """The claim, the numbers and the events, for a pull request."""
        said = self.document
        lines = [f"### {'✅' if self.certified else '❌'} {text(self.headline)}", "", text(said["claim"], 600), ""]
        columns, rows = event_rows(said)
        lines += table(columns, [(text(r[0], 60), *r[1:]) for r in rows], 12, "certificate.json")
        if not self.certified:
            columns, wanted = self.users_needed()
            lines += table(columns, [(text(r[0], 60), *r[1:]) for r in wanted], 12, "certificate.html")
        lines += [
            "Not claimed:",
            "",
            *(f"- {text(n, 400)}" for n in said["not_claimed"]),
            "",
            f"Seal: `{said['seal']}`",
            "",
            f"To verify: `{CHECK}`",
        ]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """certificate.json: the fields in their order, the seal last."""
        return json.dumps(self.document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"

    def save(self, folder: str | Path) -> Path:
        """Write certificate.html, certificate.md and certificate.json, each in one step; returns the path of certificate.json.

        Raises EvenhandError if the folder cannot be written to, or a file that evenhand did not write would be lost.
        """
        path = Path(folder) / "certificate.json"
        files = {"certificate.html": self.html(), "certificate.md": self.markdown(), path.name: self.json()}
        write(path.parent, {name: text.encode() for name, text in files.items()}, KIND, FILES)
        return path

    def __repr__(self) -> str:
        """A few plain lines for a terminal."""
        return "\n".join([self.headline, self.document["claim"], *(f"not claimed: {n}" for n in self.document["not_claimed"][:1])])

    def _repr_html_(self) -> str:
        """The page in a frame of its own, so that its style and the notebook's leave each other alone."""
        frame = 'sandbox="" title="evenhand certificate" style="width:100%;height:46rem;border:1px solid #8888"'
        return f'<iframe {frame} srcdoc="{escape(self.html())}"></iframe>'


def event_rows(said: Json) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(columns, rows) of the table of events, for the terminal."""
    return ("event", "rate", "interval", "users", "pairs"), [(e["name"], *_event_cells(e)) for e in said["events"]]


def numbers_of(said: Json) -> list[tuple[str, str]]:
    """What the verdict rests on, one row a quantity."""
    return [
        ("gap seen, D hat", f"{said['d_hat']:.4f}"),
        ("radius", f"{said['radius']:.4f}"),
        ("upper bound, D upper", f"{said['d_upper']:.4f}, from {' and '.join(said['widest'])}"),
        ("accepted, gamma", f"{said['gamma']:g}"),
        ("may be wrong with probability, delta", f"{said['delta']:g}"),
        (
            "bound",
            said["bound"].replace("_", " ")
            + ("" if said["seed"] is None else ", users in an order drawn from the hashes of model and data"),
        ),
        ("users", count(said["split"]["users"])),
    ]


def _title(said: Json) -> str:
    return f"Certificate of {said['model']['title']}: {NOTIONS[said['notion']]}, {said['decision']} decisions"


def meaning(said: Json) -> str:
    upper, gamma, sure = f"{said['d_upper']:.4f}", f"{said['gamma']:g}", f"{100 * (1 - said['delta']):g} %"
    if said["certified"]:
        return f"With {sure} confidence the gap is at most {upper}: within {gamma}."
    if said["d_hat"] > said["gamma"]:
        return f"The gap seen, {said['d_hat']:.4f}, is itself above {gamma}: no number of users would help."
    return (
        f"The gap seen, {said['d_hat']:.4f}, is within {gamma}, but with {sure} confidence it may be up to {upper}: more users could tell."
    )


def _needed_note(said: Json) -> str:
    return (
        f"For gamma {said['gamma']:g}, delta {said['delta']:g} and the {said['bound'].replace('_', ' ')} bound, if rates and spreads stayed as they "
        "are and both events of a comparison had that many users. A plan, not a promise: new users have rates of their own."
    )


def _rounded(users: int) -> int:
    """Up to two digits: a plan has no more."""
    step = 10 ** max(len(str(users)) - 2, 0)
    return -(-users // step) * step


def _event_cells(event: Json) -> tuple[str, ...]:
    return f"{event['q']:.4f}", f"{event['low']:.4f} to {event['high']:.4f}", count(event["n_users"]), count(event["n_pairs"])


def _figure(said: Json) -> Figure:
    """Rates with the intervals that hold at once; of many events the furthest ones."""
    numbers = listed("Rates", *event_rows(said), "certificate.json")
    order = sorted(said["events"], key=lambda e: -e["q"])
    shown = order if len(order) <= MOST_ROWS else [*order[: MOST_ROWS // 2], *order[-MOST_ROWS // 2 :]]
    wide, narrow = drawn(lambda width: _forest(shown, width))
    highest, lowest = order[0], order[-1]
    sentence = f"Rates go from {lowest['q']:.4f} ({lowest['name']}) to {highest['q']:.4f} ({highest['name']})."
    if len(order) == 1:
        sentence = f"The mean gap is {highest['q']:.4f}, at most {highest['high']:.4f}."
    note = "Bars: all intervals hold at once with the confidence stated. They are wider than those of an audit, since they hold for any number of users."
    return Figure(sentence, wide, narrow, note, numbers)


def _forest(events: Sequence[Json], width: int) -> str:
    def paint(canvas: Canvas) -> None:
        axes = canvas.axes(118 if canvas.is_narrow else 190, 14 if canvas.is_narrow else 165, 14, 30)
        estimates = [
            {"value": e["q"], "low": e["low"], "high": e["high"], "n_users": e["n_users"], "n_pairs": e["n_pairs"]} for e in events
        ]
        points(axes, dict(enumerate(estimates)), "rate")
        fit(axes, estimates, [])
        row_labels(canvas, axes, [e["name"] for e in events], [counts_note(e) for e in estimates])
        axes.set_xlabel("rate, %")

    return draw("events", width, 64 + ROW * len(events), paint)


def _facts(said: Json) -> list[tuple[str, str]]:
    """Hashes and how things were made; what is nested is named by both."""
    out: list[tuple[str, str]] = []
    for part in ("model", "data", "split", "code"):
        out += [
            (f"{part}: {name.replace('_', ' ')}", NONE if v is None else str(v))
            for name, v in said[part].items()
            if name not in ("read", "checked")
        ]
    return [
        *out,
        ("events: digest", said["events_digest"]),
        *([("terms sha256", said["mentions"])] if said["mentions"] else []),
        ("seal", said["seal"]),
    ]
