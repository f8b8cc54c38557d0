"""Names that try to become something else, in every kind of report whose names come from a file: the page has the same tags as with plain names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import text_page_example
from payloads import PAYLOADS

from evenhand.audits.certificate import Certificate, EventBound
from evenhand.audits.policies import Candidates
from evenhand.audits.transfer import measure
from evenhand.core import Estimate, Exclusions, Groups, PreferenceData
from evenhand.data.doctor import examine
from evenhand.report import Report, certificate, check, diff, examples, policies, texts
from evenhand.report.texts import examples as private_texts
from evenhand.report.verdicts import PLAIN as NO_SHARES
from evenhand.texts.findings import Example

BATCH = 6  # texts in one page


LOOKS = ("aria-label", "d", "transform", "x", "y", "width", "style", "viewbox")  # what follows the length of a text, as a cell's class does


class Tags(HTMLParser):
    """Tags with their attributes, in order, and what is neither tag nor text; spans set evidence lighter, whatever brackets a text holds."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[object] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("span", "title"):
            self.found.append(
                (
                    tag,
                    [(k, v) for k, v in attrs if k not in LOOKS and not (k == "class" and tag in ("th", "td"))],
                )
            )

    def handle_comment(self, data: str) -> None:
        self.found.append(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


def of_policies(names: list[str]) -> Report:
    prompt = np.repeat(np.arange(12 * len(names)), 2)
    rng = np.random.default_rng(0)
    found = measure(
        Candidates(prompt, prompt // 12, rng.normal(size=len(prompt)), np.tile([1.0, 0.0], len(prompt) // 2)), names, [0.5], [4],
        title=names[0], event=names[1], facts={names[2]: names[3]}, limits=[names[4]], command=names[5],
    )  # fmt: skip
    return policies.report(found)


def of_check(names: list[str]) -> Report:
    users = 12 * len(names)
    user = np.repeat(np.arange(users), 2)
    data = PreferenceData([f"u{i}" for i in range(users)], ["p", "a", "b."], user, 0 * user, 1 + 0 * user, 2 + 0 * user)
    found = examine(data, Groups(tuple(names), (np.arange(users) // 12).astype(np.int16), "rule"))
    lost = Exclusions(len(data) + 30, len(data), {names[0]: 30}, {names[1]: {names[2]: 30}})
    return check.report(check.Checked(found, lost, names[3], "0", users, len(data), names[4], names[5]))


def of_certificate(names: list[str]) -> Report:
    events = tuple(EventBound(n, 0.4 + i / 100, 0.3, 0.6, 40, 160) for i, n in enumerate(names))
    made = Certificate("dp", 0.1, 0.05, "hoeffding", None, events, ((0, 1),), (names[0], names[1]), 80, 0.1, 0.2, 0.3, False)
    document = {"format": "evenhand certificate 1", "certified": False}
    issued = certificate.Issued(
        made, document, names[0], "soft", names[1], names[2], names[3], (names[4],), {"seal sha256": names[5]}, {names[0]: names[1]}, (30,) * BATCH,
    )  # fmt: skip
    return certificate.report(issued)


def of_diff(names: list[str]) -> Report:
    numbers = {n: Estimate(0.5, 0.4, 0.6, 40, 160, "accuracy", n) for n in names}
    sides = [diff.Side(names[i], names[2], numbers, {names[3]: names[4 + i]}, {f"version {names[5]}": str(i)}) for i in (0, 1)]
    return diff.report(diff.Diff("report", sides[0], sides[1], names[0]))


def of_examples(names: list[str]) -> list[str]:
    pairs = tuple(examples.Example(n, names[1], names[2], -1.0, 0.5) for n in names)
    return [examples.html(examples.Examples(names[3], names[4], Estimate(0.5, 0.4, 0.6, 40, 160), 9, pairs, names[5]))]


def of_texts(names: list[str]) -> Report:
    """Without the figure of runs: whether a name finds a place in it depends on its length."""
    found = text_page_example.hostile(names)
    runs = tuple(replace(r, levels=tuple(replace(x, fidelity=False) for x in r.levels)) for r in found.runs)
    return texts.report(replace(found, runs=runs))


def of_private_texts(names: list[str]) -> list[str]:
    shown = tuple(Example((n, names[1]), names[2], (names[3], n)) for n in names)
    return [private_texts.html(replace(text_page_example.one_run(), title=names[4], command=names[5], examples=shown))]


def outputs(made: Callable[[list[str]], Report | list[str]], names: list[str]) -> list[str]:
    report = made(names)
    return report if isinstance(report, list) else [report.html(), report.markdown(), *report.tables().values()]


PLAIN = [f"name {i}" for i in range(BATCH)]


@pytest.mark.parametrize("made", [of_policies, of_check, of_certificate, of_diff, of_examples, of_texts, of_private_texts])
def test_a_name_is_never_markup(made: Callable[[list[str]], Report | list[str]]) -> None:
    said = [
        t for t in PAYLOADS if t.strip() and not any(word in t.lower() for word in NO_SHARES)
    ]  # an empty text has no place, "alpha" another
    some = said if made in (of_diff, of_examples) else said[::16]  # pages with figures are slower
    plain = Tags(outputs(made, PLAIN)[0]).found
    for start in range(0, len(some) - BATCH, BATCH):
        batch = some[start : start + BATCH]
        page, *others = outputs(made, batch)
        assert Tags(page).found == plain, batch
        for text in others:
            assert not any(ord(c) < 32 and c not in "\n\t" for c in text), batch
