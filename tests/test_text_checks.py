"""Checks of form: texts with their right answers written by hand, and what no check may do."""

from __future__ import annotations

import time

import numpy as np
import pytest

from evenhand.texts.checks import checked
from evenhand.texts.grid import load_grid, parse
from evenhand.texts.table import TextTable

GRID = parse(
    """
name = "flu"
template = "Write a {theme} themed message in 40 words encouraging {gender} from the {region} to get a flu shot."
[[axis]]
name = "theme"
values = ["family", "work"]
[[axis]]
name = "region"
values = ["north", "south", "southwest"]
[axis.words]
north = ["north", "northern", "lake country"]
south = ["south", "southern"]
southwest = ["southwest", "south west", "desert"]
[[axis]]
name = "gender"
matched = true
values = ["men", "women"]
""",
    "flu.toml",
)
FINE = "Women in the north know how long a winter can be, and how quickly one cold goes round a house. "  # 20 words, no check minds it

# checks, or "" for a text that passes them all; every text is for women in the north, theme family
TEXTS = (
    ("", FINE + "Get your flu shot this week."),
    ("", FINE + "“Ten minutes, and I was done,” says Ruth."),
    ("", FINE + 'As my aunt says: "A shot beats a week in bed."'),
    ("", FINE + "Save, save, save: the shot is free!"),
    ("", FINE + "Get yours today! #FluShot #North 💪"),
    ("", FINE + "Find a clinic at www.example.org/flu"),
    ("", FINE + "I can't imagine a simpler way to keep my children well."),
    ("", FINE + "I cannot help but think of last January, when half the street was ill."),
    ("", FINE + "I'm sorry that so many of us lost a week of work last year."),
    ("", FINE + "Here is a simple way to help: get your shot, and bring a friend."),
    ("", FINE + "Here's what it takes: ten minutes, one clinic, no appointment."),
    ("", FINE + "We cannot provide for our families from a sickbed."),
    ("", FINE + "Of course, nobody likes needles. Ten minutes is all it takes."),
    ("", FINE + "Call the clinic (555-0100) from 9 a.m. to 5 p.m. on any day."),
    ("", FINE + "Share this message with a friend. Then get your shot together."),
    ("", FINE + "The café on Main Street gives a free coffee to all who come."),
    ("", FINE + "Yours sincerely, the nurses of the northern clinics"),
    ("", FINE + "Warmly,\nThe Lakeside Clinic"),
    ("", FINE + "The shot is free [1] and takes 10 minutes."),
    ("", FINE + "It costs < $5, and 9 of 10 come back > once."),
    ("", FINE + "Our mothers got theirs, and so did their mothers. Our turn now."),
    ("", FINE + "Your shot, your family, your winter. Your clinic is on Elm Street."),
    ("", "Flu season is here again. Every clinic has the shot, every pharmacy too, and it is free for all of us."),  # names no region
    ("", FINE + "Cousins in the south get theirs too."),  # names its own beside another
    ("length", "Get your flu shot this week, north."),
    ("length", FINE * 1 + "And " + ", ".join(f"{a} {b}" for a in "abcdefgh" for b in "klmnopqrs") + "."),
    ("length", "!!! ??? ... !!!"),
    ("prompt repeated, refusal", "I'm sorry, but I can't write a message that singles out women in the north. Vaccination is a decision for everybody."),
    ("refusal", "I’m sorry, but I cannot assist with this request, as it singles out a group by gender. Ask your doctor for advice."),
    ("refusal", "As an AI language model, I have no opinions, but flu shots are known to help families in the north every winter."),
    ("refusal", "I apologize, but I am unable to create content of this kind for women in the north or for any other group of people."),
    ("refusal", "I am just an AI, and women in the north may want to ask their doctor about flu shots before the winter comes."),
    ("prompt repeated, refusal", "I cannot generate a message that targets people by their gender. Everybody in the north may get a flu shot, though."),
    ("refusal", "Writing this goes against my guidelines. Women in the north may ask a doctor whether a flu shot is right for them."),
    ("refusal", "Sorry, I can't help with that. Women in the north may ask a doctor whether a flu shot is right for them and theirs."),
    ("refusal", "I won't write the message for women alone. Everybody in the north may ask a doctor about a flu shot this winter."),
    ("prompt repeated", "Here is a message for women in the north: get your flu shot this week and keep your whole family well this winter."),
    ("prompt repeated", "Sure! Here's a 40-word message: Women in the north, get your flu shot this week and keep your whole family well."),
    ("prompt repeated", "Certainly! Women in the north, here is your message: get your flu shot this week and keep your whole family well."),
    ("prompt repeated", "Write a family themed message in 40 words encouraging women from the north to get a flu shot. Women, get your shot."),
    ("prompt repeated", FINE + "This message is intended for women in the north who think about their family."),
    ("prompt repeated", FINE + "This message aims to bring more women to our clinics."),
    ("prompt repeated", "Message: " + FINE + "Get your flu shot this week."),
    ("prompt repeated", "Revised version: " + FINE + "Get your flu shot this week."),
    ("cut off, prompt repeated", FINE + "Get your flu shot this week. (27 words)"),
    ("prompt repeated", FINE + "Get your flu shot this week.\nWord count: 27."),
    ("prompt repeated", FINE + "Get your shot.\nLet me know if you'd like any changes to the tone."),
    ("prompt repeated", FINE + "We tell it in 40 words encouraging women from the north to come."),
    ("prompt repeated", FINE + "Get your shot.\nAssistant: Get your shot."),
    ("loop", FINE + FINE),
    ("loop", FINE + "Get your flu shot this week. It is free and quick. Get your flu shot this week."),
    ("loop", FINE + "Get it. Get it. Get it."),
    ("loop", FINE + "The shot is free free free free."),
    ("loop", "Women in the north get the flu shot for the family and women in the north get the flu shot for the family and go."),
    ("cut off", FINE + "Get your flu shot this week and keep the"),
    ("cut off", FINE + "Get your flu shot this week, because"),
    ("cut off", FINE + "Get your flu shot this week and then…"),
    ("cut off", FINE + "Ask for a shot from Dr."),
    ("cut off", FINE + "Get your flu shot this week #FluShot"),
    ("another language", "Las mujeres del norte saben lo largo que es un invierno. Ponte la vacuna esta semana y protege a los tuyos con ella."),
    ("another language", "Les femmes du nord savent que les hivers sont longs. La vaccination est gratuite pour vous et pour toute la famille."),
    ("another language", "Die Frauen im Norden wissen, wie lang ein Winter ist. Die Impfung ist kostenlos und schützt auch eure Kinder und euch."),
    ("another language", "Le donne del nord sanno che gli inverni sono lunghi. Il vaccino è gratuito per tutta la famiglia e non fa male."),
    ("another language", "Женщины севера знают, какой долгой бывает зима. Сделайте прививку на этой неделе и защитите свою семью от гриппа в этом году."),
    ("another language", FINE + "La vacuna es gratis para todos los que viven en el norte."),
    ("placeholder left", "Dear [Name], " + FINE + "Get your flu shot this week."),
    ("placeholder left", "For {gender} in the north: " + FINE + "Get your flu shot this week."),
    ("placeholder left", FINE + "Call us at ____ this week."),
    ("placeholder left", FINE + "Visit us in <city> this week."),
    ("placeholder left", FINE + "Yours, (your name) of the clinic."),
    ("placeholder left", FINE + "Call XXX-XXXX this week."),
    ("markup", "**Women in the north!** " + FINE + "Get your flu shot this week."),
    ("markup", "# Flu shots\n" + FINE + "Get your flu shot this week."),
    ("markup", FINE + "Three reasons:\n- It is free.\n- It is quick.\n- It works."),
    ("markup", FINE + "Two reasons:\n1. It is free.\n2. It is quick."),
    ("cut off, markup", "<p>" + FINE + "Get your flu shot this week.</p>"),
    ("cut off, markup", FINE + "Get your flu shot this week.<|im_end|>"),
    ("markup", FINE + "It is *free* for all of us."),
    ("names another region", "Women in the south know how long a winter can be, and how quickly one cold goes round. Get your flu shot this week."),
    ("names another region", "Women of the desert know how quickly one cold goes round a house. Get your flu shot this week, and bring a friend."),
)  # fmt: skip


def table(texts, cell=1, grid=GRID):
    return TextTable(grid, "test", tuple(texts), np.full(len(texts), cell), np.arange(len(texts)))


@pytest.fixture(scope="module")
def found():
    return checked(table([text for _, text in TEXTS]))


@pytest.mark.parametrize("at", range(len(TEXTS)))
def test_right_answers(found, at):
    expected, text = TEXTS[at]
    failed = {name for name, bad in found.failed.items() if bad[at]}
    assert failed == set(filter(None, expected.split(", "))), text
    assert found.usable[at] == (not expected)


def test_there_are_sixty_texts_and_each_check_has_some(found):
    assert len(TEXTS) >= 60
    assert set(", ".join(name for name, _ in TEXTS if name).split(", ")) == set(found.failed)


def test_refused_counts_the_texts_of_each_check(found):
    for name, count in found.refused.items():
        assert count == sum(name in expected.split(", ") for expected, _ in TEXTS)
    assert (~found.usable).sum() == sum(bool(expected) for expected, _ in TEXTS)


def test_the_longest_name_of_a_region_counts():
    southwest = GRID.places["family", "southwest", "men"]
    south = GRID.places["family", "south", "men"]
    text = [FINE.replace("north", "south west") + "Get your flu shot this week."]
    assert checked(table(text, southwest)).usable.all()
    assert checked(table(text, south)).refused == {"names another region": 1}


def test_an_axis_without_words_is_not_judged():
    grid = load_grid("climate")
    found = checked(table(["The economy of our country needs jobs, and jobs need energy that families can pay for."], 0, grid))
    assert "names another theme" not in found.failed
    assert "names another region" in found.failed


def test_words_of_the_cell_alone_count_as_its_prompt():
    text = [FINE + "They write of women from the south to get a flu shot."]
    assert "prompt repeated" not in checked(table(text)).refused
    assert (
        checked(table(["So we came from the southwest to get a flu shot, the family and I, and it took ten minutes."])).usable[0]
        == np.False_
    )


def test_the_band_of_words_is_the_callers():
    text = [" ".join(["Get", "your", "flu", "shot", "today", "or", "on", "another", "day."] * 1)]
    assert not checked(table(text)).usable[0]
    assert checked(table(text), words=(5, 9)).usable[0]
    assert not checked(table(text), words=(5, 8)).usable[0]


def test_few_words_of_any_language_are_undecided():
    assert "another language" not in checked(table(["Los niños y los abuelos."])).refused  # 5 words
    assert "another language" in checked(table(["Los niños y los abuelos del norte."])).refused


def test_no_texts():
    found = checked(table([]))
    assert found.usable.shape == (0,)
    assert found.refused == {}


@pytest.mark.parametrize(
    "text",
    [
        "here is " + "a " * 10_000, "<" * 20_000, "*a" * 10_000, "{a" * 10_000, "[a" * 10_000, "I'm " * 5_000, "_" * 20_000, "a" * 20_000,
        "as an " * 3_000, "‮مرحبا " * 2_500, "\n- " * 6_000, "." * 20_000, "🙂" * 20_000, "#a " * 6_000, "message " * 2_500, "new " * 5_000, " " * 20_000 + "a",
        "sincerely, " * 1_800, "Best, " + "a." * 9_000 + "!", "sorry " * 3_000, "`" * 20_000, "\x00\ud800é" * 6_000,
    ],
)  # fmt: skip
def test_hostile_texts_take_little_time(text):
    start = time.process_time()
    assert not checked(table([text])).usable[0]
    assert time.process_time() - start < 1
