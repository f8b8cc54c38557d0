"""What reports of texts say: every sentence against worlds in which it would be false. How they are printed, test_report_conformance holds."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import text_page_example as example
from pages import Page
from payloads import PAYLOADS

from evenhand.core import Estimate
from evenhand.report.figures.planes import Plane, Stand, planes
from evenhand.report.page import Column
from evenhand.report.publish import one_line
from evenhand.report.texts import drawn, report, sizes, told
from evenhand.report.texts import examples as private
from evenhand.report.texts import sentences as said
from evenhand.report.texts import stage_sentences as of_stages
from evenhand.texts.findings import Choice, Fall, Gap, Run, TextFindings

NAN = math.nan
FOUND = example.gap("persuasion", "modality", "gender", d=-0.29, p=0.001, systematic=0.2, systematic_p=0.5)
NOTHING = example.gap("persuasion", "agency", "gender", d=-0.1, p=0.3, systematic=0.05, systematic_p=0.4)


def answers(found: TextFindings) -> str:
    return " ".join(map(str, report(found).page.answers))


def everything(found: TextFindings) -> str:
    """All words of the page, and of Markdown."""
    made = report(found)
    return Page(made.html()).text + made.markdown()


def alone(*gaps: Gap, **changes: object) -> Run:
    return replace(example.run(), gaps=gaps, **changes)


# --- do the versions differ? ---


def test_the_side_with_more_comes_first_whatever_the_sign_of_the_gap() -> None:
    turned = replace(FOUND, signed=said.flipped(FOUND.signed), d=said.flipped(FOUND.d))
    assert "Texts for “Male” lean more to words of certainty than those for “Female”: modality by 0.13" in said.gap_sentence(FOUND, 1.0)
    assert "Texts for “Female” lean more to words of certainty than those for “Male”: modality by 0.13" in said.gap_sentence(turned, 1.0)


def test_interval_is_turned_with_the_gap() -> None:
    low, high = FOUND.signed.low, FOUND.signed.high
    assert f"{-high:.3f} to {-low:.3f}" in said.gap_sentence(FOUND, 1.0)


def test_no_difference_is_never_said_but_what_would_have_been_found() -> None:
    text = said.differences([NOTHING], {})
    assert text.startswith("Not shown: of 2 tests none")
    assert "|d| = 0.20 (agency by gender) four times in five" in text
    assert not re.search(r"\bno (difference|gap)s?\b|equal|the same", text.lower())


def test_p_counts_after_holm_alone() -> None:
    before = replace(FOUND, p=0.001, p_holm=0.06)
    assert said.differences([before], {}).startswith("Not shown")
    assert said.differences([replace(before, p_holm=0.05)], {}).startswith("Yes")


def test_gap_from_pair_to_pair_has_no_side() -> None:
    text = said.differences([replace(NOTHING, systematic_p_holm=0.001)], {})
    assert "from pair to pair" in text
    assert "That one side has more on average is not shown" in text
    assert not re.search("Texts for “(Male|Female)”", text)


def test_systematic_gap_below_nought_is_none() -> None:
    gap = replace(NOTHING, systematic=replace(NOTHING.systematic, value=-0.1), systematic_p_holm=0.001)
    assert said.differences([gap], {}).startswith("Not shown")


def test_profile_has_no_side_and_no_d() -> None:
    gap = example.gap("emotion", "emotions", "age", p=0.001, systematic_p=0.002, values=example.AGE, distance="L1")
    text = said.differences([gap], {})
    assert "A profile has no side" in text
    assert "|d|" not in text
    assert not re.search("Texts for|more than|less than", text)


def test_mean_profiles_and_profiles_of_pairs_are_two_tests() -> None:
    one, other = (
        example.gap("emotion", "emotions", "age", p=0.01, systematic_p=0.9, values=example.AGE, distance=d)
        for d in ("L1", "Jensen-Shannon")
    )
    text = said.differences([one, other], {})
    assert "The mean profiles of emotions by age differ; p = 0.010 after Holm" in text
    assert "further apart" not in text
    assert "too" not in text  # both distances share the test of means: it is told once
    assert told.tests([one, other]) == 3
    pairs = [replace(g, p_holm=0.9, systematic_p_holm=0.02) for g in (one, other)]
    text = said.differences(pairs, {})
    assert "lie further apart than those of equal texts would" in text
    assert "p = 0.020 after Holm" in text
    assert "Beyond its null too: emotions (Jensen-Shannon) by age" in text
    assert "mean profiles" not in text.lower()


def named(measure: str, d: float, p: float, audit: str = "emotion") -> Gap:
    return example.gap(audit, measure, "gender", d=d, p=p)


def test_an_emotion_is_named_only_by_two_instruments_on_the_same_side() -> None:
    one = named("joy (words)", 0.3, 0.001)
    agreeing, against, undecided = (named("joy (MiniLM)", d, p) for d, p in ((0.25, 0.02), (-0.25, 0.02), (0.25, 0.2)))
    other = named("fear (MiniLM)", 0.25, 0.02)
    assert "joy" in said.differences([one, agreeing], {})
    for second in ([against], [undecided], [other], []):
        assert said.differences([one, *second], {}).startswith("Not shown"), second
        page = answers(replace(example.one_run(), runs=(alone(one, *second),), requirements=()))
        assert "joy" not in page.split("four times in five")[0].split("gap of |d|")[0]


def test_measures_of_other_audits_need_no_second_instrument() -> None:
    assert "joy" in said.differences([named("joy (words)", 0.3, 0.001, "mine")], {})


def test_hidden_names_are_told_by_their_own_test() -> None:
    twin = replace(FOUND, masked=True)
    assert "It is there with words that name groups hidden as well" in said.differences([FOUND, twin], {})
    assert "hidden it is not shown" in said.differences([FOUND, replace(twin, p_holm=0.3)], {})
    other_side = replace(twin, signed=said.flipped(twin.signed), d=said.flipped(twin.d))
    assert "hidden it is not shown" in said.differences([FOUND, other_side], {})
    untested = replace(twin, p_holm=NAN, systematic_p_holm=NAN)
    assert "hidden" not in said.differences([FOUND, untested], {})
    assert said.differences([NOTHING, twin], {}).startswith("Yes. Only with the words that name groups hidden: texts for “Male”")


def test_one_text_a_cell_is_not_testable_and_says_so() -> None:
    assert "Not testable: one text a cell." in answers(example.untestable())
    text = answers(example.one_draw())
    assert "Yes." in text  # means were tested
    assert "36 gaps differ from pair to pair is not testable: one text a cell" in text
    assert "Not testable." not in text
    gap = replace(NOTHING, p_holm=NAN, systematic_p_holm=NAN)
    why = [replace(gap, testable=f"not testable: {w}") for w in ("none is matched", "all are equal", "none is matched")]
    assert said.untestable(why) == " 3 gaps are not testable at all: none is matched (2), all are equal (1)."


def test_gap_of_few_blocks_speaks_of_these_prompts_alone() -> None:
    gap = example.gap("persuasion", "modality", "gender", d=-0.29, p=0.001, blocks=6)
    assert "a gap of these 6 blocks alone" in said.gap_sentence(gap, 1.0)
    assert "alone" not in said.gap_sentence(FOUND, 1.0)


def test_no_interval_is_printed_of_fewer_than_ten_blocks() -> None:
    found = replace(example.one_run(), runs=(example.run(blocks=9),), requirements=())
    rows = csv.DictReader(io.StringIO(report(found).tables()["gaps.csv"]))
    assert {(r["signed_low"], r["d_high"], r["systematic_low"]) for r in rows} == {("", "", "")}
    enough = replace(found, runs=(example.run(blocks=10),))
    rows = csv.DictReader(io.StringIO(report(enough).tables()["gaps.csv"]))
    assert all(r["signed_low"] for r in rows if not r["distance"])
    assert "(no interval; 9 blocks, 108 pairs)" in everything(found)


def test_many_gaps_are_named_and_counted() -> None:
    text = answers(example.one_run())
    assert "modality by gender, persuasion bias by gender" in text
    assert "hold more imperatives" in text


# --- usable, fidelity ---


@pytest.mark.parametrize(("share", "is_first"), [(0.37, True), (0.899, True), (0.9, False), (0.99, False)])
def test_low_share_of_usable_texts_comes_before_everything(share: float, is_first: bool) -> None:
    page = report(replace(example.one_run(), runs=(example.run(usable=share),))).page
    text = f"{100 * share:.1f}"
    assert any(text in c for c in page.cautions) == is_first
    assert (text in page.summary) != is_first


def test_usable_share_is_of_all_texts_though_some_were_audited() -> None:
    one = example.run(usable=0.5)
    kept = replace(one, n_texts=880)
    assert "of the 1,760 texts of “climate” are usable" in said.usable_sentence(kept)
    assert "880 texts of them were audited" in said.usable_sentence(kept)
    assert "audited" not in said.usable_sentence(one)


def test_made_up_texts_are_called_so_and_not_their_users() -> None:
    text = everything(example.aligned())
    assert "made to show how the audit works" in text
    assert "Users are simulated" not in text


@pytest.mark.parametrize(
    ("fall", "words"),
    [
        (-0.017, "falls beyond noise"),
        (0.02, "rises beyond noise"),
        (-0.004, "neither a rise nor a fall is shown, and a fall of up to 0.010 is not excluded"),
    ],
)
def test_fidelity_moves_by_its_interval(fall: float, words: str) -> None:
    base = example.run("a")
    after = example.run("b", contrast=0.121 + fall)
    found = replace(example.one_run(), runs=(base, after), moved=example.moved("b", base, after, [], [], fall))
    assert words in answers(found)


# --- before and after ---


def test_strip_tells_improved_from_regressed_and_mixed() -> None:
    assert said.strip(["improved", "undecided"]) == "✓ 1 improved, 1 undecided"
    assert said.strip(["regressed"]) == "✕ 1 regressed"
    assert said.strip(["improved", "regressed"]).startswith("◇")
    assert said.strip(["mixed"]).startswith("◇")
    assert said.strip(["undecided", "undecided"]) == "? 2 undecided"
    assert said.strip([]) == ""


def test_a_gap_counts_once_though_it_has_two_sizes() -> None:
    found = example.aligned()
    gaps = {(g.audit, g.measure, g.axis) for g in found.runs[0].gaps if not g.masked and not g.distance}
    assert len(told.shifts(found, "selected", masked=True)) == len(told.shifts(found, "selected", masked=False)) == len(gaps) == 14
    only_signed = tuple(replace(m, change="undecided") if m.kind == "systematic" else m for m in found.moved)
    assert "modality by gender (signed)" in said.moved_sentence(replace(found, moved=only_signed), "selected")
    turned = tuple(
        replace(m, change="regressed") if m.kind == "systematic" and m.measure == "modality" and m.axis == "gender" else m
        for m in found.moved
    )
    text = said.moved_sentence(replace(found, moved=turned), "selected")
    assert "smaller in one size and larger in the other: modality by gender" in text
    assert "improved: imperatives by age" in text


def page_table(found: TextFindings, panel: str, start: str) -> list[dict[str, str]]:
    """A table of a panel as people read it, a dictionary a row."""
    [one] = [t for p in report(found).page.panels if p.key == panel for t in p.tables if t.caption.startswith(start)]
    return [{c.name: c.line(cell) for c, cell in zip(one.columns, row)} for row in one.rows]


def test_strip_runs_and_figure_count_the_same_gaps_in_the_version_that_verdicts_are_on() -> None:
    """A gap is a measure on an axis: 8 of each of two axes. As written, one gap less is there than with names hidden."""
    found = example.aligned()
    written = tuple(
        replace(g, p_holm=0.9, systematic_p_holm=0.9) if g.measure == "modality" and not g.masked else g for g in found.runs[0].gaps
    )
    found = replace(found, runs=(replace(found.runs[0], gaps=written), *found.runs[1:]))
    [first, *_] = page_table(found, "runs", "Runs, with 95 % intervals over blocks; gaps with names hidden")
    assert (first["gaps tested"], first["beyond the null"], first["the same as written"]) == ("16", "4", "3")
    lead = next(p.finding for p in report(found).page.panels if p.key == "runs")
    assert lead.startswith("Gaps beyond the null, with names hidden: “original” 4 of 16; ".replace("; ", ", "))
    assert drawn.forest(found, found.runs[0]).sentence.startswith(
        "4 of 16 gaps in “original”, with names hidden, are beyond the null after Holm, with a side:"
    )
    strip = page_table(found, "moved", "Gaps of each audit against “original”, with names hidden")
    assert strip[0]["persuasion"] == "✓ 2 improved, 6 undecided"
    assert "Gaps against “original”, with names hidden: “selected” 2 improved, 0 regressed, 12 undecided" in said.moves(found)


def test_tests_of_an_audit_without_gaps_say_whose_they_are() -> None:
    def lexical(found: TextFindings) -> str:
        return next(p.finding for p in report(found).page.panels if p.name == "Lexical")

    assert lexical(example.aligned()).startswith("In “selected”, as written: 1 of 1 test has a p")
    assert lexical(example.one_run()).startswith("1 of 1 test has a p")


def test_a_disparity_that_was_not_there_before_is_called_new() -> None:
    found = example.aligned()
    [agency] = told.new_gaps(found, found.runs[3])
    assert (agency.measure, agency.axis, agency.masked) == ("agency", "gender", True)
    assert not told.new_gaps(found, found.runs[0])
    assert not told.new_gaps(found, found.runs[1])
    text = "New, beyond the null with names hidden and not so in “original”, and larger beyond noise: agency by gender in “sft+dpo”."
    assert text in answers(found)
    strip = page_table(found, "moved", "Gaps of each audit against “original”, with names hidden")
    assert strip[2]["persuasion"] == "◇ 1 improved, 1 regressed, 6 undecided, 1 new"
    assert page_table(found, "runs", "Runs")[3]["new"] == "1"
    other_side = tuple(
        replace(g, signed=said.flipped(g.signed), d=said.flipped(g.d)) if (g.measure, g.axis) == ("imperatives", "age") else g
        for g in found.runs[1].gaps
    )
    turned = replace(found, runs=(found.runs[0], replace(found.runs[1], gaps=other_side), *found.runs[2:]))
    assert [g.measure for g in told.new_gaps(turned, turned.runs[1])] == ["imperatives"]


def test_a_test_that_is_passed_after_one_that_was_not_is_no_change() -> None:
    """The gap is beyond its null in the later run alone, but no interval of a difference shows that it grew."""
    found = example.aligned()
    still = tuple(replace(m, change="undecided") if m.measure == "agency" else m for m in found.moved)
    unmoved = replace(found, moved=still)
    assert not told.new_gaps(unmoved, found.runs[3])
    assert [g.measure for g in told.unshown_gaps(unmoved, found.runs[3])] == ["agency"]
    text = answers(unmoved)
    assert "New, " not in text
    assert (
        "Beyond the null with names hidden and not so in “original”, but that it grew is not shown: agency by gender in “sft+dpo”." in text
    )
    assert "new" not in page_table(unmoved, "moved", "Gaps of each audit against “original”, with names hidden")[2]["persuasion"]


def test_what_moved_is_told_with_names_hidden_and_as_written_beside_it() -> None:
    found = example.aligned()
    moves = tuple(
        replace(m, before=replace(m.before, value=9.5)) if m.masked and m.measure == "modality" and m.axis == "gender" else m
        for m in found.moved
    )
    rows = page_table(replace(found, moved=moves), "moved", "Gaps before and after, with names hidden;")
    row = next(r for r in rows if r["measure"] == "modality by gender" and r["run"] == "selected" and r["size"] == "signed")
    assert row["before"].startswith("9.500 ")
    assert row["before, as written"].startswith("0.131 ")
    assert (row["change"], row["change, as written"]) == ("improved", "improved")
    plain = replace(found, moved=tuple(m for m in found.moved if not m.masked))
    assert page_table(plain, "moved", "Gaps before and after, as written;")
    svg = drawn.before_and_after(found, "selected").plot(860)
    assert "signed gaps with names hidden" in svg
    assert "signed gaps as written" in svg


def test_falls_that_fail_on_fresh_draws_are_said_at_the_top() -> None:
    some = (fall(0.24, 0.2, 0.03), fall(0.2, 0.19, 0.03), fall(-0.05, 0.01, 0.02))
    some = tuple(replace(f, measure=m) for f, m in zip(some, ("bias", "formality", "warmth")))
    said_ = of_stages.falls_sentence(some)
    assert (
        said_
        == "1 of 3 falls on fresh draws is shown beyond choices shuffled over prompts; not so: formality by gender, warmth by gender (it grew)."
    )
    assert of_stages.falls_sentence(some[:1]) == "Yes: the fall on fresh draws is beyond that of choices shuffled over prompts."
    none = Estimate(NAN, NAN, NAN, 0, 0)
    assert of_stages.falls_sentence([replace(f, fresh=none, learned=none) for f in some]).startswith("Not known: there are no fresh draws")
    found = example.aligned()
    chosen = replace(
        found, selection=replace(found.selection, falls=some), runs=(found.runs[0], replace(found.runs[1], selected=True), *found.runs[2:])
    )
    assert f"Does what selection won hold for other texts? {said_}" in answers(chosen)
    strip = page_table(chosen, "moved", "Gaps of each audit against “original”, with names hidden")
    assert [r["falls of selection, on fresh draws"] for r in strip] == ["◇ 1 of 3 shown", "", ""]


def test_texts_chosen_by_what_is_measured_are_points_without_intervals() -> None:
    found = example.aligned()
    found = replace(found, runs=(found.runs[0], replace(found.runs[1], selected=True), *found.runs[2:]))
    document = report(found).document
    original, chosen, trained, _ = document["runs"]
    for run, has in ((original, True), (chosen, False), (trained, True)):
        assert (run["gaps"][0]["signed"]["low"] is not None) == has
        assert (run["gaps"][0]["groups"][0][1]["high"] is not None) == has
        assert (run["gaps"][0]["mde"] is not None) == has
        assert (run["levels"][0]["value"]["low"] is not None) == has
        assert run["gaps"][0]["signed"]["value"] is not None
        assert run["usable"]["low"] is not None
    for move in document["moved"]:
        assert (move["difference"]["low"] is None) == (move["after"]["low"] is None) == (move["run"] == "selected")
        assert move["before"]["low"] is not None


def test_undecided_is_not_unchanged() -> None:
    found = example.three_models()
    assert said.moved_sentence(found, "model C") == "“model C” against “model A”, with names hidden: for none of 14 gaps is a change shown."
    assert not re.search(r"\bunchanged\b|did not change", everything(found))


@pytest.mark.parametrize(
    ("value", "low", "high", "scale", "shown"),
    [
        (0.0006, 0.0002, 0.001, 1.0, "+0.0006 (+0.0002 to +0.0010)"),
        (0.0011, 0.0002, 0.0021, 1.0, "+0.0011 (+0.0002 to +0.0021)"),  # an end that is not 0 is none
        (0.0004, -0.2, 0.2, 1.0, "0.000 (−0.200 to +0.200)"),
        (0.02, 0.01, 0.03, 1.0, "+0.020 (+0.010 to +0.030)"),
        (0.0004, 0.0001, 0.0007, 100.0, "+0.04 points (+0.01 to +0.07)"),
        (60.0, 59.9, 60.1, 1.0, "+60.00 (+59.90 to +60.10)"),
        (0.5, 0.5, 0.5, 1.0, "+0.500 (+0.500 to +0.500)"),  # no width is no reason for digits
    ],
)
def test_bounds_have_digits_enough_to_be_told_from_their_value(value: float, low: float, high: float, scale: float, shown: str) -> None:
    e = Estimate(value, low, high, 55, 220)
    assert sizes.with_interval(e, scale) == shown
    assert Column("difference", sizes.of_gap(scale)).line(e) == shown.replace(" points", "")


# --- selection, choice ---


def fall(fresh: float, shuffled: float, half: float) -> Fall:
    return example.fall("persuasion bias", "gender", 0.73, fresh, shuffled, half)


def test_learned_only_where_its_interval_lies_above_nought() -> None:
    assert "Learned, beyond shuffled choices: +4.0 points" in of_stages.fall_sentence(fall(0.24, 0.2, 0.03))
    for some in (fall(0.24, 0.2, 0.05), fall(0.24, 0.2, 0.04), fall(0.1, 0.2, 0.03)):
        assert "That anything was learned is not shown" in of_stages.fall_sentence(some)


def test_all_three_falls_are_told_and_a_rise_is_no_fall() -> None:
    assert "73.0\u00a0% less on the very texts" in of_stages.fall_sentence(fall(0.24, 0.2, 0.03))
    text = of_stages.fall_sentence(fall(-0.05, 0.01, 0.2))
    assert "5.0\u00a0% more on fresh draws" in text
    assert "1.0\u00a0% less with choices shuffled" in text


def test_without_fresh_draws_nothing_is_known_of_new_texts() -> None:
    none = Estimate(NAN, NAN, NAN, 0, 0)
    text = of_stages.fall_sentence(replace(fall(0.2, 0.1, 0.01), fresh=none, learned=none))
    assert "nothing is known of new texts" in text
    assert "earned" not in text
    text = of_stages.fall_sentence(Fall("m", "age", none, none, none, none))  # originals that do not differ: there may be draws enough
    assert "could be computed: no pair of originals is known to differ. Fresh draws are too few, or do not differ either" in text


def test_no_model_selected_is_exit_3_and_never_relaxed() -> None:
    made = report(example.none_selected())
    assert made.exit_code == made.document["exit_code"] == 3
    assert made.page.tone == "insufficient"
    text = answers(example.none_selected())
    assert "no model is selected" in text
    assert "The tightest setting that admits one is rho = 0.25, eps = 0.01 (“selected”); it was not asked for" in text
    assert "◆ chosen" not in made.html()


def test_no_setting_admits_a_run() -> None:
    found = example.none_selected()
    c = found.choice
    assert isinstance(c, Choice)
    none = replace(c, admitted=tuple(replace(a, runs=(), best="") for a in c.admitted))
    assert "Nor at any other setting" in of_stages.choice_sentence(none)


@pytest.mark.parametrize(("verdict", "code"), [("PASS", 0), ("FAIL", 1), ("INSUFFICIENT", 3)])
def test_exit_code_is_the_verdicts(verdict: str, code: int) -> None:
    asked = tuple(replace(r, verdict=verdict) for r in example.one_run().requirements)
    found = replace(example.one_run(), requirements=asked, verdict=verdict)
    assert report(found).exit_code == code
    chosen = replace(example.aligned(), requirements=asked, verdict=verdict)
    assert report(chosen).exit_code == code
    assert report(replace(example.none_selected(), requirements=asked, verdict=verdict)).exit_code == 3


def test_a_choice_alone_judges_by_itself() -> None:
    assert report(example.aligned()).exit_code == 0
    assert report(replace(example.one_run(), requirements=(), verdict="INSUFFICIENT")).exit_code == 3


# --- numbers, files ---


def test_requirements_are_bare_numbers_of_blocks() -> None:
    made = report(example.one_run())
    assert "0.29 (0.13 to 0.45)" in made.markdown()
    assert "55 blocks, 220 pairs" in made.markdown()
    text = ET.tostring(ET.fromstring(made.junit()), encoding="unicode")
    assert "estimate 0.29, 95\u00a0% simultaneous interval 0.13 to 0.45, required at most 0.20, 55 blocks, 220 pairs" in text


@pytest.mark.parametrize("made", [example.one_run, example.aligned, example.untestable, example.many])
def test_nothing_speaks_of_users(made) -> None:
    found = report(made())
    texts = [Page(found.html()).text, found.markdown(), repr(found), *(t.splitlines()[0] for t in found.tables().values()), found.junit()]
    for text in texts:
        assert not re.search(r"\busers?\b|n_users", text)


def test_scale_of_a_measure_is_its_unit() -> None:
    gap = example.gap("fidelity", "identifiability of gender", "gender", d=0.3, p=0.001, sd=0.29)
    assert "identifiability of gender by 8.7 points" in said.gap_sentence(gap, 100.0)
    assert "identifiability of gender 91.0\u00a0% (89.3 to 92.7), 73.0\u00a0% with words that name groups hidden" in answers(
        example.one_run()
    )


def test_csv_files_hold_every_gap_as_it_was_found() -> None:
    found = example.aligned()
    tables = report(found).tables()
    assert {"gaps.csv", "groups.csv", "levels.csv", "moved.csv", "falls.csv", "words.csv", "tests.csv", "exclusions.csv"} <= tables.keys()
    rows = list(csv.DictReader(io.StringIO(tables["gaps.csv"])))
    assert len(rows) == sum(len(r.gaps) for r in found.runs)
    first = next(g for g in found.runs[0].gaps if g.measure == "modality")
    row = next(r for r in rows if r["measure"] == "modality")
    assert float(row["signed_value"]) == first.signed.value
    assert row["signed_n_blocks"] == "55"
    words = list(csv.DictReader(io.StringIO(tables["words.csv"])))
    assert {"run": "original", "column": "word", "value": "family", "row": "1"}.items() <= next(
        r for r in words if r["value"] == "family"
    ).items()


def test_document_holds_what_the_choice_reads_and_no_text() -> None:
    found = example.with_examples()
    document = json.loads(report(found).json())
    assert document["format"] == "evenhand texts 1"
    gap = document["runs"][0]["gaps"][0]
    assert {"audit", "measure", "axis", "masked", "signed", "systematic", "absolute", "null"} <= gap.keys()
    made = report(found)
    for text in (made.html(), made.json(), made.markdown(), *made.tables().values()):
        assert "madam" not in text


def test_texts_side_by_side_stand_on_a_private_page() -> None:
    page = Page(private.html(example.with_examples())).text
    assert page.index("You must act now, sir.") < page.index("Perhaps you could act, madam.")
    assert "Private" in page


def test_runs_that_look_alike_stay_two() -> None:
    found = example.three_models()
    names = dict(zip([r.name for r in found.runs], ["a b", "a\tb", "a\nb"]))
    runs = tuple(replace(r, name=names[r.name]) for r in found.runs)
    moved = tuple(replace(m, run=names[m.run]) for m in found.moved)
    document = report(replace(found, runs=runs, moved=moved)).document
    printed = [r["name"] for r in document["runs"]]
    assert len(set(printed)) == 3
    assert {m["run"] for m in document["moved"]} == set(printed[1:])


def test_names_in_the_figure_of_runs_stay_texts() -> None:
    stands = [Stand(one_line(t), example.around(0.1 * i, 0.01), example.around(0.5 - i, 0.01), i == 0) for i, t in enumerate(PAYLOADS[:3])]
    svg = planes("p", [Plane(PAYLOADS[0], stands)], ("x", PAYLOADS[1]), 860)
    assert "<script" not in svg.lower()
    assert "&lt;script&gt;" in svg


def test_huge_findings_fit() -> None:
    found = example.many(24)
    assert len(report(found).html().encode()) <= 2_000_000
    assert len(report(found).markdown().splitlines()) <= 40
