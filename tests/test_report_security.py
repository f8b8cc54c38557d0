"""Text that a user, a file or a model brought along stays text, in every format."""

from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import report_example as example
from markdown_it import MarkdownIt
from pages import Skeleton
from payloads import PAYLOADS

from evenhand.audits.findings import Confound, FairnessReport, FittedConstraints, GroupCounts, Requirement
from evenhand.core import Exclusions
from evenhand.report import markdown
from evenhand.report.audit import report as made
from evenhand.report.figures import intervals
from evenhand.report.markdown import text as markdown_text
from evenhand.report.publish import LONGEST_TEXT, one_line

BATCH = 28  # groups in one report: all of them stand in the forest


def infected(texts: list[str]) -> FairnessReport:
    """A report with a text of its own in every place for one: each text is a group's name once and, in turn, everything else."""
    it = iter(texts * 40)
    groups = tuple(replace(example.group(t, 0.6 + 0.002 * i, 400, 0.02), excluded=next(it)) for i, t in enumerate(texts))
    half = len(groups) // 2
    groups = tuple(replace(g, excluded="") for g in groups[:half]) + groups[half:]
    bins = tuple((t, example.estimate(0.7)) for t in texts)
    row = example.change().rows[0]
    change = replace(example.change(), before=next(it), after=next(it), verdict=next(it), rows=tuple(replace(row, group=t) for t in texts))
    model = replace(
        example.model(), model=next(it), split=next(it), groups=groups, counts=tuple(GroupCounts(t, 9) for t in texts), spread=None,
        support=replace(example.support_curve(), rule=next(it), users=()), confounds=(Confound(next(it), bins, example.estimate(0.5)),),
        null=tuple(replace(n, statistic=next(it)) for n in example.model().null[:1]),
    )  # fmt: skip
    requirements = tuple(
        Requirement(t, replace(example.estimate(0.1), metric=next(it), group=next(it)), 0.1, "FAIL", next(it)) for t in texts
    )
    trace = replace(example.trace(next(it), 0, 3), settings={next(it): next(it), next(it): 0.5})
    found = example.constraint()
    rates = tuple(replace(found.violations[0].rates[0], event=t) for t in texts)
    size = replace(found.violations[0].size, after=replace(found.violations[0].size.after, group=next(it)))
    fitted = FittedConstraints((next(it),), (0.1, 0.05), (0.1, 0.04), ((0.0,), (0.1,)), 2, True, 0.05, next(it), next(it))
    constraint = replace(
        found, name=next(it), before=next(it), after=next(it), split=next(it), rule=next(it), levelling=next(it), training=next(it),
        sentence=next(it), fitted=fitted, costs=tuple(replace(found.costs[0], group=t) for t in texts),
        violations=(replace(found.violations[1], decision=next(it), rates=rates, size=size, reason=next(it)),),
    )  # fmt: skip
    exclusions = Exclusions(len(texts), 0, dict.fromkeys(texts, 1), {next(it): {next(it): 1} for _ in texts})
    mapping = {t: next(it) for t in texts}
    return FairnessReport(
        next(it), True, requirements, model, (replace(model, model=next(it)),), (change,), (replace(model, split=next(it)),), (trace,), next(it),
        exclusions, {f"hash {k}": v for k, v in mapping.items()}, mapping, tuple(texts), next(it), (constraint,),
    )  # fmt: skip


def batches() -> list[list[str]]:
    texts = [t for t in PAYLOADS if one_line(t)]
    texts += texts[: -len(texts) % BATCH]
    return [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]


@pytest.fixture(scope="module")
def harmless() -> Skeleton:
    return Skeleton(made(infected([f"word {i:02d}" for i in range(BATCH)])).html())


def test_corpus_is_large_and_distinct():
    assert len(set(PAYLOADS)) >= 200


@pytest.mark.parametrize("batch", range(len(batches())))
def test_page_keeps_its_structure_and_shows_the_text(batch, harmless):
    texts = batches()[batch]
    page = made(infected(texts)).html()
    found = Skeleton(page)
    assert found.tags == harmless.tags
    assert found.addresses == harmless.addresses
    assert found.others == harmless.others
    assert page.encode("utf-8").isascii() or not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff]", page)
    shown = " ".join(found.text)
    for text in texts:
        assert one_line(text) in shown, f"lost or changed: {one_line(text)!r}"


@pytest.mark.parametrize("batch", range(len(batches())))
def test_other_formats_can_be_read_back(batch):
    texts = batches()[batch]
    report = made(infected(texts))
    groups = [g["group"] for g in json.loads(report.json())["model"]["groups"]]
    assert groups == [one_line(t) for t in texts]
    suite = ET.fromstring(report.junit())[0]
    assert [case.get("name") for case in suite][:-1] == [one_line(t) for t in texts]  # the last is the constraint
    assert {e.tag for e in suite.iter()} == {"testsuite", "testcase", "failure"}
    for name, text in report.tables().items():
        rows = list(csv.reader(io.StringIO(text)))
        assert len({len(row) for row in rows}) == 1, name
        for cell in (cell for row in rows for cell in row):
            assert not re.match(r"[\s'\"]*[=@＝＋－＠\t\r]", cell.removeprefix("'")) or cell.startswith("'")
            assert not re.match(r"[+-]", cell) or re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)
    assert len(report.markdown().splitlines()) <= 40


@pytest.mark.parametrize("text", [t for t in PAYLOADS if t.strip()])
def test_markdown_shows_markup_as_text(text):
    shown = markdown_text(one_line(text))
    assert "\n" not in shown
    assert not re.search(r"<[a-zA-Z/!?]|(?<!\\)[|`*\[\]]|@|://|&(?!amp;|lt;|gt;|#\d+;)", shown.replace("\\\\", ""))


def forest(labels: list[str]) -> str:
    return intervals.rows("groups", [intervals.Row(one_line(t), example.estimate(0.7)) for t in labels], 0.7, "all users", (0.65, 0.7), 800)


def test_labels_never_reach_mathtext_or_the_glyph_machinery(recwarn):
    hostile = ["$\\frac{1}{0}$", "$x$", "日本語", "👩", "$", "\\"]
    figure = forest(hostile)
    for text in hostile:
        assert f">{one_line(text)}</text>" in figure
    assert not [w for w in recwarn if "lyph" in str(w.message)]


def test_tokens_in_a_label_are_not_expanded():
    figure = forest(["@1@", "second group"])
    assert figure.count(">@1@</text>") == 1
    assert figure.count(">second group</text>") == 1


def test_long_texts_are_clipped_everywhere():
    report = made(infected(["x" * 50_000, "y" * 50_000]))
    for text in (report.html(), report.json(), report.junit(), report.markdown(), *report.tables().values()):
        assert not re.search(f"x{{{LONGEST_TEXT + 1}}}|y{{{LONGEST_TEXT + 1}}}", text)


@pytest.mark.parametrize("said", ["- [ ] x", "+ x", "1. x", "12) x", "---", "-"])
def test_a_text_that_begins_like_a_list_begins_none(said: str) -> None:
    """In a bullet of a model card it was a list of its own, or a rule."""
    html = MarkdownIt("commonmark").render(f"- {markdown.text(said)}")
    assert html == f"<ul>\n<li>{said}</li>\n</ul>\n"
