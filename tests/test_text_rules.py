"""The reviser without a model: sentences with what each rule must make of them, written by hand, and what holds for every text."""

from __future__ import annotations

import re
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evenhand.texts.checks import checked
from evenhand.texts.grid import parse
from evenhand.texts.revising.rules import RULES, revise, reworded
from evenhand.texts.sample_texts import sample
from evenhand.texts.table import TextTable

SAME = None  # the rule must leave the text as it is

EXAMPLES = {
    "softer": (
        ("You will save money.", "You may save money."),
        ("It will not cost you a cent.", "It may not cost you a cent."),
        ("You'll save money, and they’ll help.", "You may save money, and they may help."),
        ("It’ll probably help, and it will probably last.", "It may help, and it may last."),
        ("It won't take long.", "It may not take long."),
        ("You will definitely save.", "You may save."),
        ("This certainly will work, and it will most certainly last.", "This may work, and it may last."),
        ("You will be able to rest.", "You may be able to rest."),
        ("We must act now.", "We may want to act now."),
        ("You must not wait.", "You should not wait."),
        ("You mustn't wait.", SAME),
        ("You must be 18 or older.", "You should be 18 or older."),
        ("We must all save.", "We should all save."),
        ("Bills must fall.", "Bills should fall."),
        ("It must have been the wind.", "It may have been the wind."),
        ("You must have a ticket.", "You should have a ticket."),
        ("We shall overcome.", "We may overcome."),
        ("This is definitely worth it.", "This is possibly worth it."),
        ("It is certainly true.", "It is perhaps true."),
        ("Certainly, clean air matters.", "Perhaps clean air matters."),
        ("It almost certainly helps.", "It quite possibly helps."),
        ("Without a doubt, it helps.", "Quite possibly, it helps."),
        ("You need to see a doctor, and we have to help.", "You may want to see a doctor, and we may want to help."),
        ("YOU WILL SAVE.", "YOU MAY SAVE."),
        ("Solar panels will power your home.", "Solar panels may power your home."),
        ("That will help, and this will, too.", "That may help, and this may, too."),
        ("Will you join us?", SAME),
        ("What will the future bring?", SAME),
        ("When will we learn?", SAME),
        ("Won't you join us?", SAME),
        ("Shall we begin?", SAME),
        ("Do it of your own free will.", SAME),
        ("Where there is a will, there is a way.", SAME),
        ("Their will is strong, and willpower helps.", SAME),
        ("Ask Will Smith about it.", SAME),
        ("It is against one's will and against our collective will to act.", SAME),
        ("This fair is a must for families.", SAME),
        ("A flu shot is a must-have.", SAME),
        ("Do what you need to do.", SAME),
        ("Do you need to go?", SAME),
        ("Slowly but surely it grew.", SAME),
        ("Definitely!", SAME),
        ("Ann said, “You will save.”", SAME),
        ('The sign says "You must stop" here.', SAME),
        ("He goodwill-tours the county.", SAME),
    ),
    "firmer": (
        ("This may help.", "This will help."),
        ("It might rain tomorrow.", "It will rain tomorrow."),
        ("It may not last.", "It will not last."),
        ("You can save $300 a year.", "You will save $300 a year."),
        ("You can also save water.", "You will also save water."),
        ("A new filter could help you breathe.", "A new filter will help you breathe."),
        ("It may well pay off.", "It will pay off."),
        ("It could possibly save lives.", "It will save lives."),
        ("You should call a doctor.", "You must call a doctor."),
        ("We should not wait.", "We must not wait."),
        ("You may want to check the attic.", "You must check the attic."),
        ("We might want to act.", "We must act."),
        ("Perhaps the time has come.", "Certainly, the time has come."),
        ("Perhaps, the time has come.", "Certainly, the time has come."),
        ("Maybe you have seen us in town.", "Certainly, you have seen us in town."),
        ("It is possibly the best way.", "It is certainly the best way."),
        ("It probably helps.", "It certainly helps."),
        ("It will probably help.", "It will certainly help."),
        ("That can make a difference so you can breathe.", "That will make a difference so you will breathe."),
        ("THIS MAY HELP.", "THIS WILL HELP."),
        ("Come on May 3 or in May.", SAME),
        ("May you always be warm.", SAME),
        ("Can you help?", SAME),
        ("How can saving help?", SAME),
        ("We cannot afford it, and we can't wait.", SAME),
        ("You can call us at any time.", SAME),
        ("Come as soon as you can.", SAME),
        ("Do all you can.", SAME),
        ("It could have saved lives.", SAME),
        ("If you could see the attic, you would know.", SAME),
        ("Bring a can of paint.", SAME),
        ("Push with all your might.", SAME),
        ("We might as well start.", SAME),
        ("We could use your help.", SAME),
        ("Ask if it may help.", SAME),
        ("You should have called.", SAME),
        ("Should you need help, call us.", SAME),
        ("Perhaps not.", SAME),
        ("It cannot possibly fail.", SAME),
        ("Is it perhaps too late?", SAME),
        ("About 50 homes, perhaps 60, took part.", SAME),
        ("Come what may.", SAME),
        ("Ann said, “This may help.”", SAME),
    ),
    "suggesting": (
        ("Join us today.", "You could join us today."),
        ("Please join us.", "You could join us."),
        ("Just call 555-0142.", SAME),  # a number follows: not sure enough
        ("Just call your clinic.", "You could just call your clinic."),
        ("So choose clean power.", "So you could choose clean power."),
        ("Today, take the first step.", "Today, you could take the first step."),
        ("It is free. Book your visit, and bring a friend.", "It is free. You could book your visit, and bring a friend."),
        ("Let's build it. Together, let’s win.", "We could build it. Together, we could win."),
        ("Be part of it.", "You could be part of it."),
        ("Get vaccinated. Get your shot.", "You could get vaccinated. You could get your shot."),
        ("Help your neighbors.", "You could help your neighbors."),
        ("Save energy now.", "You could save energy now."),
        ("Sign up by May 3.", "You could sign up by May 3."),
        ("He said so.\nVisit our office.", "He said so.\nYou could visit our office."),
        ("Support from neighbors helps.", SAME),
        ("Help is here. Change comes slowly.", SAME),
        ("Work in the plant is hard.", SAME),
        ("Savings start small.", SAME),
        ("Do you know why? Have you called?", SAME),
        ("Take a break?", SAME),
        ("See you soon.", SAME),
        ("Thank you for your help.", SAME),
        ("Don't wait.", SAME),
        ("“Join us,” they say.", SAME),
        ("Let's not wait. Let's face it.", SAME),
        ("Open to all residents.", SAME),
        ("Get sick less often.", SAME),
        ("We join them.", SAME),
        ("Joining us is easy.", SAME),
        ("JOIN US TODAY.", SAME),
    ),
    "urging": (
        ("You could join us today.", "Join us today."),
        ("You can also call your clinic.", "Call your clinic."),
        ("You should get your shot.", "Get your shot."),
        ("You may want to check your attic.", "Check your attic."),
        ("You could just call your clinic.", "Just call your clinic."),
        ("So you can take the first step.", "So take the first step."),
        ("We could build a park.", "Let's build a park."),
        ("Together, we could build a park.", "Together, let's build a park."),
        ("We invite you to join us.", "Join us."),
        ("We would love to invite you to visit us.", "Visit us."),
        ("We warmly encourage you to visit our office.", "Visit our office."),
        ("Why not join us?", "Join us."),
        ("You could get sick.", SAME),
        ("You can be proud.", SAME),
        ("You could have called.", SAME),
        ("You may join us.", SAME),
        ("You can trust in that.", SAME),
        ("Could you join us?", SAME),
        ("You could join us?", SAME),
        ("If you could join us, good.", SAME),
        ("We could show you the plant.", SAME),
        ("We can help your family.", SAME),
        ("You could lose money.", SAME),
        ("You could tell how cold it was.", SAME),
        ("“You could join us,” they say.", SAME),
    ),
    "inviting": (
        ("Join us. Call us.", "We invite you to join us. Call us."),
        ("It is free. Please book your visit.", "It is free. We invite you to book your visit."),
        ("So take the first step.", "So we invite you to take the first step."),
        ("We invite you to call. Join us.", SAME),
        ("You are invited. Join us.", SAME),
        ("Help is here.", SAME),
        ("“Join us,” they say.", SAME),
    ),
    "calmer": (
        ("Protect your family.", "Watch over your family."),
        ("It reduces costs and protected our homes.", "It lowers costs and watched over our homes."),
        ("By reducing waste, we earn trust.", "By lowering waste, we receive trust."),
        ("We demand clean air.", "We ask for clean air."),
        ("She fought for clean air.", "She spoke up for clean air."),
        ("You will earn a prize.", "You will receive a prize."),
        ("Claim your rebate.", "Receive your rebate."),
        ("Cut your energy bill.", "Lower your energy bill."),
        ("They claim the sun is cold.", SAME),
        ("We cut them off.", SAME),
        ("We protect our children from flu.", SAME),
        ("Protect yourself.", SAME),
        ("They have overcome the winter.", "They have coped with the winter."),
        ("Seize the chance to cut your bill.", "Accept the chance to lower your bill."),
        ("Slash your bill.", "Lower your bill."),
        ("It helps to tackle the cause.", "It helps to face the cause."),
        ("He claims a rebate.", "He receives a rebate."),
        ("The demand for energy rose.", SAME),
        ("Energy demand rose, and so did claims.", SAME),
        ("This protects against flu.", SAME),
        ("The reduced price helps.", SAME),
        ("Cuts are coming.", SAME),
        ("To protect and to serve.", SAME),
        ("Guard rails help.", SAME),
        ("“Protect your family,” they say.", SAME),
    ),
    "bolder": (
        ("You will receive a report.", "You will obtain a report."),
        ("Lower your bill.", "Reduce your bill."),
        ("They lowered their costs.", "They reduced their costs."),
        ("We ask for clean air.", "We demand clean air."),
        ("We hope for rain.", "We push for rain."),
        ("She copes with the cold.", "She overcomes the cold."),
        ("We support our schools.", "We champion our schools."),
        ("You may find new ways.", "You may discover new ways."),
        ("They find it hard, and find jobs.", SAME),
        ("Trim your bill.", "Cut your bill."),
        ("Trim your hedge.", SAME),
        ("To face the winter, plan ahead.", "To tackle the winter, plan ahead."),
        ("Lower bills are coming.", SAME),
        ("It leads to lower bills.", SAME),
        ("I find the joke good.", SAME),
        ("Your support matters.", SAME),
        ("Her face shone.", SAME),
        ("You will find out soon.", SAME),
        ("A find of this kind is rare.", SAME),
        ("Support your schools.", "Champion your schools."),
    ),
}  # fmt: skip
CASES = [(rule, text, expected) for rule, cases in EXAMPLES.items() for text, expected in cases]

HIGH = "protect protects reduce reduced reduces reducing earn earns cut slash demand demands fought overcome overcomes seize claim claims tackle obtain push champion discover"
LOW = "watch watched receive receives accept cope coped copes hope notice find"
CERTAIN = ("will", "must", "shall", "definitely", "certainly")
HEDGED = ("might", "may", "could", "can", "perhaps", "possibly")
VERBS = (
    "join choose take book be get help save sign visit call check let's bring ask send pick put show make feel try tell open change give start share keep "
    "stop compare meet see read"
)


def words(text):
    return re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower().replace("’", "'"))


def balance(text, plus, minus):
    return sum(w in plus for w in words(text)) - sum(w in minus for w in words(text))


def imperatives(text):
    """Sentences that begin with one of VERBS, perhaps after a word or two that may stand before it."""
    lead = r"^(?:(?:so|today|together|please|just),? )*"
    return sum(
        bool(re.match(lead + "(?:" + "|".join(VERBS.split()) + r")(?!\w)", s.lower().replace("’", "'")))
        for s in re.split(r"(?<=[.!?])\s|\n", text)
    )


MOVED = {
    "modality": lambda text: balance(text, CERTAIN, HEDGED),
    "imperatives": imperatives,
    "agency": lambda text: balance(text, HIGH.split(), LOW.split()),
}


@pytest.mark.parametrize(("rule", "text", "expected"), CASES)
def test_by_hand(rule, text, expected):
    assert revise(text, RULES[rule]) == (text if expected is SAME else expected)


@pytest.mark.parametrize(("rule", "text", "expected"), [c for c in CASES if c[2] is not SAME])
def test_each_change_is_in_the_rules_direction(rule, text, expected):
    count = MOVED[RULES[rule].moves]
    assert np.sign(count(expected) - count(text)) == RULES[rule].to


def test_there_are_many_examples_of_each_kind():
    assert len(CASES) >= 180
    kinds = Counter((rule, expected is SAME) for rule, _, expected in CASES)
    assert all(kinds[rule, same] >= 3 for rule in RULES for same in (True, False))


def test_a_rule_moves_its_part_on_the_sample_and_its_rules_alone_say_so():
    texts = sample()[1].texts
    for rule in RULES.values():
        count = MOVED[rule.moves]
        changes = [count(revised) - count(text) for text in texts if (revised := revise(text, rule)) != text]
        assert len(changes) >= 5, rule.name
        if rule.moves != "agency":  # its words are a short list here
            assert all(np.sign(c) == rule.to for c in changes), rule.name


SENTENCES = sorted(
    {s for text in sample()[1].texts[::7] for s in re.split(r"(?<=[.!?]) ", text)}
    | {text for _, text, _ in CASES}
    | {
        "Call 555-0142 by May 3, 2027, or see Dr. Will May in Must Hill.", "Maria Can and Joan Might will tell you more.", "Costs fell by 12.5% (from $1,200).",
        "WILL YOU JOIN US? JOIN US NOW!", "“We will win,” she said; “you could join us.”", "E-mail will.may@can.org…", "L'été can be short: 9 °C.",
        "You can't, you won't, you shouldn't!", "Perhaps you can possibly save, maybe you could.", "It's a must: you must, I must, we all must.",
        "If you can join us, you could save. Could you? You could.", "So, let's. Let's go! Let's not.",
    }
)  # fmt: skip
MODAL = r"(?:will|would|can|could|may|might|must|shall|should)"
UNGRAMMATICAL = re.compile(
    rf"\b{MODAL} {MODAL}\b|\bto {MODAL}\b(?! [A-Z])|\b{MODAL} (?:to|let)\b|\b{MODAL}n't not|  |\bplease could\b", re.IGNORECASE
)
QUOTED = re.compile(r"“[^”]*”|\"[^\"]*\"")


NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]+(?!\w)")


def names(text):
    """Words with a capital inside a sentence."""
    return Counter(NAME.findall(text))


def ungrammatical(text):
    """What no sentence says; a name such as Might is none of the words that it looks like."""
    return {m[0].lower() for m in UNGRAMMATICAL.finditer(NAME.sub("Name", text))}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=7), st.sampled_from(sorted(RULES)), st.sampled_from([" ", "\n", " "]))
def test_what_holds_for_every_text(parts, rule, between):
    text = between.join(parts)
    revised = revise(text, RULES[rule])
    assert revise(revised, RULES[rule]) == revised
    assert re.findall(r"\d[\d.,%-]*", revised) == re.findall(r"\d[\d.,%-]*", text)
    assert not names(text) - names(revised) - Counter(re.findall(r"[A-Z][a-z]+", revised))
    assert QUOTED.findall(revised) == QUOTED.findall(text)
    assert Counter(re.findall(r"[;:()$%…—]", revised)) == Counter(re.findall(r"[;:()$%…—]", text))
    assert len(re.findall(r"[.!?]", revised)) == len(re.findall(r"[.!?]", text))
    assert ungrammatical(revised) <= ungrammatical(text)
    if len(text.split()) > 12:
        assert abs(len(revised.split()) - len(text.split())) <= 0.25 * len(text.split())


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.sampled_from(sorted(RULES)))
def test_any_characters_do(text, rule):
    revised = revise(text, RULES[rule])
    assert revise(revised, RULES[rule]) == revised


def test_a_text_that_would_grow_by_over_a_quarter_stays():
    text = "Join us. Save money. Call us. Take the bus. Keep it. Make it. Bring it."
    assert revise(text, RULES["suggesting"]) == text
    assert revise(text[:9] + "We are here for all of you, every day of the week.", RULES["suggesting"]).startswith("You could join us.")


GRID = parse(
    """
template = "{region} {gender}"
[[axis]]
name = "region"
values = ["north", "south"]
[[axis]]
name = "gender"
matched = true
values = ["men", "women"]
""",
    "grid.toml",
)


def test_candidates_are_the_originals_and_what_rules_make_of_each_draw():
    texts = ("You will save.", "Join us.", "You may save.", "Rain falls.")
    table = TextTable(GRID, "mine", texts, np.array([0, 0, 0, 3]), np.array([0, 1, 2, 0]))
    found = reworded(table)
    rows = list(zip(found.cell.tolist(), found.source, found.draw.tolist(), found.texts))
    assert rows == [
        (0, "original", 0, "You will save."),
        (0, "original", 1, "Join us."),
        (0, "original", 2, "You may save."),
        (0, "suggesting", 1, "You could join us."),
        (0, "inviting", 1, "We invite you to join us."),
        (3, "original", 0, "Rain falls."),
    ]  # softer and firmer make texts of the cell that are there already
    assert found.run == "mine"
    assert found.grid is GRID


def test_candidates_of_the_sample_are_as_usable_as_its_texts():
    found = reworded(sample()[1])
    assert checked(found).refused == {}
    assert min(Counter(found.source).values()) >= 5
    assert set(found.source) == {"original", *RULES}


def test_candidates_of_some_rules_and_of_no_text():
    table = TextTable(GRID, "mine", ("You will save.",), np.array([1]), np.array([5]))
    assert reworded(table, {"calmer": RULES["calmer"]}).texts == table.texts
    assert list(zip(reworded(table).source, reworded(table).draw.tolist())) == [("original", 5), ("softer", 5)]
    assert len(reworded(TextTable(GRID, "mine", (), np.zeros(0, int), np.zeros(0, int)))) == 0


def test_the_order_of_rules_is_that_of_the_sources():
    found = reworded(sample()[1].take(np.arange(8)))
    order = ["original", *RULES]
    for cell in set(found.cell.tolist()):
        sources = [order.index(s) for s, c in zip(found.source, found.cell) if c == cell]
        assert sources == sorted(sources)
    assert set(found.source) > {"original", "softer"}


def test_long_texts_take_little_time():
    text = "You will save, and you can help, if you must. Join us! " * 350  # 19,000 characters
    start = time.process_time()
    for rule in RULES.values():
        revise(text, rule)
    assert time.process_time() - start < 4
