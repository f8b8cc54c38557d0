"""Writes the sample that ships, src/evenhand/texts/sample: messages of a made-up campaign, put together from sentences written here, with planted differences

    python runs/sample_texts.py

Each of four drafts of a cell is an opening that names audience, region and theme, two promises, some of them with a fact between, an appeal, and a
second appeal or a closing. Which sentences stand in a draft is drawn alike for all audiences. Four things are not:

- a promise is certain ("will") or hedged ("may"): more often certain for men, by an amount that differs between themes and regions;
- an appeal is an imperative ("Book a visit.") or a statement ("A visit takes one call."): more imperatives the younger the readers;
- a closing is warm or plain: somewhat more warm ones the older the readers;
- the words that name the audience.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evenhand.texts.grid import Grid, load_grid
from evenhand.texts.rows import read_texts
from evenhand.texts.table import TextTable

PLACE = Path(__file__).parents[1] / "src" / "evenhand" / "texts" / "sample"
DRAFTS, SEED = 4, 5
FEWEST, MOST = 30, 55  # words of a text

CERTAIN_MEN, CERTAIN_WOMEN, SPREAD = 0.68, 0.40, 0.10  # P(a promise is certain); standard deviation of half its gap over themes and regions
IMPERATIVE = {"aged 18-29": 0.75, "aged 30-44": 0.62, "aged 45-64": 0.50, "aged 65 and over": 0.38}  # P(an appeal is an imperative)
WARM = {"aged 18-29": 0.30, "aged 30-44": 0.38, "aged 45-64": 0.46, "aged 65 and over": 0.55}  # P(a closing is warm)
FACT, APPEAL = 0.45, 0.4  # P(a fact stands between the promises), P(a second appeal instead of a closing)
ADVERB = 0.2  # P(an adverb beside the modal verb), alike for certain and hedged ones

WHO = {
    "aged 18-29": ("young {g}", "{g} in their twenties", "{g} in a first home of their own"),
    "aged 30-44": ("{g} in their thirties", "{g} around forty", "{g} with young families"),
    "aged 45-64": ("{g} in their fifties", "{g} in midlife", "{g} with grown children"),
    "aged 65 and over": ("{g} over 65", "retired {g}", "older {g}"),
}
AT = {
    "coast": ("on the coast", "along the shore", "in our coastal towns", "up and down the coast"),
    "plains": ("on the plains", "across the prairie", "in our prairie towns", "all over the plains"),
    "mountains": ("in the mountains", "in our mountain towns", "on this side of the mountains", "up in the mountains"),
    "lakes": ("by the lakes", "around the lakes", "in our lakeshore towns", "along the lakeshore"),
}
ABOUT = {
    "lower bills": ("lower bills", "heating costs", "saving money at home", "what a winter costs", "rising bills"),
    "comfort": ("comfort at home", "cold rooms", "drafty windows", "a warm house", "cold floors"),
    "healthy air": ("healthy air at home", "damp walls", "dust and stale air", "the air in the bedroom", "mold in the corners"),
    "community": (
        "what neighbors do together",
        "the whole neighborhood",
        "our energy community",
        "how a street saves together",
        "helping a neighbor",
    ),
}
OPENINGS = (
    "{who} {at} keep asking us about {about}.",
    "{who} {at} have a new reason to talk about {about}.",
    "This note about {about} is for {who} {at}.",
    "More and more {who} {at} care about {about}.",
    "We have talked with many {who} {at} about {about}.",
    "{who} {at} told us what matters to them: {about}.",
    "Every winter {who} {at} write to us about {about}.",
    "Among {who} {at}, the talk of the season is {about}.",
    "There is good news about {about} for {who} {at}.",
    "Last year a great many {who} {at} asked for help with {about}.",
    "{who} {at} deserve straight answers about {about}.",
    "When it comes to {about}, {who} {at} have questions, and we listen.",
    "Our team has been meeting {who} {at} to talk about {about}.",
    "For {who} {at}, we have something new on {about}.",
    "If the subject is {about}, {who} {at} know what they want.",
)
PROMISES = {
    "lower bills": (
        "A free home energy check {will} show where your money goes.",
        "Sealing two or three leaks {will} cut a heating bill by a tenth.",
        "A better thermostat {will} pay for itself within a year.",
        "One visit {will} take a good deal off your yearly costs.",
        "New seals on old windows {will} keep money in your pocket.",
        "The savings {will} cover a month of groceries.",
        "Small repairs {will} bring your power bill down by spring.",
        "A cheap roll of insulation {will} save more than it costs.",
        "Our advisers {will} find savings that most people miss.",
        "Turning the water heater down {will} trim the bill at once.",
        "A sealed attic {will} lower your costs for many years.",
        "The check {will} tell you which repairs are worth the money.",
        "With a few changes, you {will} pay less every month.",
        "You {will} see the difference on your very next bill.",
        "A new showerhead {will} save hot water and money.",
        "A report in plain words {will} help you plan your savings.",
        "We {must} stop paying to heat the garden.",
        "Real savings {must} start with the biggest leak.",
    ),
    "comfort": (
        "A free home energy check {will} find the drafts that keep you cold.",
        "New seals {will} make the coldest room comfortable again.",
        "Good insulation {will} hold the warmth until morning.",
        "A thick curtain {will} stop the draft by the window.",
        "You {will} feel the difference on the first cold night.",
        "The bedroom {will} stay cool in summer and warm in winter.",
        "A quiet, warm house {will} make long evenings more pleasant.",
        "Our advisers {will} measure every room and find the cold spots.",
        "Warm floors {will} change how your mornings begin.",
        "A balanced radiator {will} end the quarrel over the thermostat.",
        "Fewer drafts {will} mean fewer blankets on the sofa.",
        "The check {will} show why one room never gets warm.",
        "You {will} sleep better in a room of even warmth.",
        "Sealed doors {will} keep comfort in and noise out.",
        "Small repairs {will} bring comfort to the whole house.",
        "A warm hallway {will} make the house feel larger.",
        "We {must} stop living with cold feet.",
        "A good winter {must} begin with warm walls.",
    ),
    "healthy air": (
        "A free home energy check {will} find where the damp comes from.",
        "A quiet fan {will} clear the bathroom air in minutes.",
        "Clean filters {will} take dust out of the air you breathe.",
        "Dry walls {will} keep mold out of the corners.",
        "You {will} breathe more easily in a dry bedroom.",
        "Fresh air {will} help everybody in the house sleep.",
        "Our advisers {will} measure the air in every room.",
        "Sealed ducts {will} keep dust from the attic out.",
        "The check {will} show which rooms need more air.",
        "Less damp {will} protect lungs, walls and books alike.",
        "A small vent {will} change the air while you cook.",
        "You {will} notice the cleaner air within a day.",
        "Good airing habits {will} spare you many a cough.",
        "A dry cellar {will} make the whole house smell better.",
        "A simple meter {will} tell you when to open a window.",
        "Better air {will} give your lungs a rest at night.",
        "We {must} stop breathing the dust of old ducts.",
        "Healthy air {must} come before new paint.",
    ),
    "community": (
        "A free home energy check {will} show how your street compares.",
        "Ten homes together {will} win a grant for the block.",
        "Neighbors who share tools {will} finish the work in a day.",
        "Your visit {will} help us plan for the whole neighborhood.",
        "A street that saves together {will} keep the lights on in storms.",
        "Our volunteers {will} seal a neighbor's windows next.",
        "Your example {will} bring more neighbors to the list.",
        "One block {will} save as much as a small school uses.",
        "The town {will} use what it saves for the library.",
        "Working together {will} make old houses last.",
        "You {will} meet neighbors whom you have never met.",
        "Shared orders {will} lower the price for the community.",
        "The check {will} give your street a plan of its own.",
        "A community of careful homes {will} use far less in a storm.",
        "Neighbors {will} hear about it from you first.",
        "A little help {will} mean a lot to the house next door.",
        "We {must} look after one another on this street.",
        "A strong neighborhood {must} include every home.",
    ),
}
FACTS = {
    "lower bills": (
        "The average home loses a quarter of its heat through gaps.",
        "The check costs nothing, and the report is yours to keep.",
        "Last winter the average household here saved 212 dollars.",
        "Heating is the largest part of most energy bills.",
        "An old refrigerator costs far more to run than a new one.",
        "Most repairs cost less than a tank of gas.",
        "A grant pays half of the costs of insulation.",
        "Bills rose again last year, and the reasons are known.",
        "Ten minutes with a tube of sealant is money well spent.",
        "There is no charge, no catch and nothing to sign.",
        "Two in three homes that we visit have an easy saving.",
        "Money that leaks out through the attic is simply lost.",
    ),
    "comfort": (
        "Most cold rooms have one cause, and it is a gap.",
        "Drafts come in at the same five places in most homes.",
        "A room with cold walls feels cold at any setting.",
        "The check takes an hour, and you stay warm meanwhile.",
        "Old windows are rarely the coldest part of a house.",
        "Comfort is not a luxury in January.",
        "In nine of 10 houses the attic hatch has no seal.",
        "Warmth rises, and so the attic comes first.",
        "A warm home is quieter, too.",
        "The draft under the door is the easiest to find.",
        "Last year we sealed 640 drafty windows.",
        "A house holds its warmth like a good coat.",
    ),
    "healthy air": (
        "We spend most of the day breathing indoor air.",
        "Damp air is harder to heat than dry air.",
        "One room in six that we measure is too damp.",
        "Mold starts behind furniture, where nobody looks.",
        "Dust from old ducts settles on every shelf.",
        "The check takes an hour and covers air and heat.",
        "Air that smells fresh is not always clean.",
        "Two open windows change the air in five minutes.",
        "Lungs rest at night, and so the bedroom comes first.",
        "The meter that we bring reads damp within seconds.",
        "Good air and low heating need not be at odds.",
        "Last year we found mold in 118 homes.",
    ),
    "community": (
        "On Elm Street, 14 neighbors had a check on one day.",
        "The volunteers are neighbors, trained by the town.",
        "Every street has a house that needs help first.",
        "Last fall our volunteers visited 318 homes.",
        "The community fund has paid for 60 front doors.",
        "A street with many checks gets the next grant.",
        "The town keeps the list, and nobody is left out.",
        "Tools for the whole block wait at the library.",
        "In our community, good habits travel over the fence.",
        "The check is free for every house on the block.",
        "Together, 10 homes on a block use what a school uses.",
        "The neighborhood picnic began with an energy check.",
    ),
}
APPEALS = (  # the imperative, and a statement that asks for the same
    ("Book your free visit this week.", "A free visit takes one phone call."),
    ("Call us at 555-0142 and pick a day.", "Our number is 555-0142, and every day is open."),
    ("Sign up online in two minutes.", "Signing up online takes two minutes."),
    ("Ask for a Saturday if weekdays are full.", "Saturdays are open for those whose weekdays are full."),
    ("Choose a day that suits you.", "Any day that suits you is fine with us."),
    ("Visit our office on Mill Road.", "Our office on Mill Road is open until six."),
    ("Send us a note with your address.", "A short note with your address is enough."),
    ("Pick a morning or an evening.", "Mornings and evenings are both open."),
    ("Put your name on the list today.", "The list for this month is still open."),
    ("Take the first step today.", "The first step is a short call."),
)
OWN_APPEALS = {
    "lower bills": (
        ("Bring an old bill to the visit.", "An old bill at the visit is useful."),
        ("Keep the savings for yourself.", "All the savings are yours."),
        ("Stop paying for lost heat.", "Paying for lost heat is nobody's wish."),
        ("Ask us about the grant.", "There are people here who know the grant well."),
        ("Save first and repair later.", "Saving first and repairing later is a sound plan."),
        ("Compare your bill with last year's.", "A look at last year's bill is worth the time."),
    ),
    "comfort": (
        ("Show us the coldest room.", "The coldest room is where we begin."),
        ("Make this winter the comfortable one.", "This winter is a good one to begin with."),
        ("Feel along the window frame tonight.", "A hand along the window frame finds most drafts."),
        ("Get the cold spots measured.", "Measuring the cold spots takes minutes."),
        ("Try a warm hallway for once.", "A warm hallway is no dream."),
        ("Tell us where it is drafty.", "We know from others where it is drafty."),
    ),
    "healthy air": (
        ("Open two windows tonight.", "Two open windows tonight are a good start."),
        ("Check behind the wardrobe for mold.", "Mold behind the wardrobe is easy to see."),
        ("Ask us to measure the bedroom.", "Measuring the bedroom is part of the visit."),
        ("Change the filter this month.", "A new filter each fall is a good habit."),
        ("Give your lungs a dry room.", "A dry room is good for the lungs."),
        ("Show us the damp corner.", "The damp corner is where we begin."),
    ),
    "community": (
        ("Bring a neighbor along.", "Neighbors are as welcome as you are."),
        ("Join the volunteers on your block.", "There is room among the volunteers on your block."),
        ("Tell the house next door.", "The house next door is on our list, too."),
        ("Start the list for your street.", "The list for your street is still short."),
        ("Share the tools when you are done.", "The tools go on to the next house."),
        ("Put your street on the map.", "Your street is not on the map yet."),
    ),
}
CLOSINGS_WARM = (
    "We would be delighted to meet you.",
    "It is always a joy to help.",
    "Thank you for caring about your home.",
    "We are so happy to hear from you.",
    "We wish you a happy winter.",
    "Your kind words after a visit make our day.",
    "We love a friendly chat over coffee.",
    "It makes us happy to see you smile.",
)
CLOSINGS_PLAIN = (
    "Our advisers work in all parts of the county.",
    "The visit takes about an hour.",
    "The report arrives within a week.",
    "No papers are needed for it.",
    "The offer ends in March.",
    "Each adviser carries a badge.",
    "Nothing is sold during the visit.",
    "Renters and owners are both served.",
)
CERTAIN = {"{will}": (("will",), ("will definitely", "will certainly")), "{must}": (("must",), ("must definitely", "must certainly"))}
HEDGED = {
    "{will}": (("can", "may", "could", "might"), ("may possibly", "could perhaps", "might possibly", "could possibly")),
    "{must}": (("could",), ("could perhaps", "could possibly")),
}  # verb alone, with an adverb


def text(row: dict[str, str], p_certain: float, draw: random.Random) -> str:
    """One draft for a cell. row: its values. p_certain: the chance of each promise to be certain."""
    theme, age = row["theme"], row["age"]
    who = draw.choice(WHO[age]).format(g=row["gender"])
    parts = [_begin(draw.choice(OPENINGS).format(who=who, at=draw.choice(AT[row["region"]]), about=draw.choice(ABOUT[theme])))]
    first, second = (_promise(p, p_certain, draw) for p in draw.sample(PROMISES[theme], 2))
    fact = [draw.choice(FACTS[theme])] if draw.random() < FACT else []
    parts += [first, *fact, second]
    appeals = draw.sample(APPEALS, 1) + draw.sample(OWN_APPEALS[theme], 1)
    draw.shuffle(appeals)
    parts.append(appeals[0][draw.random() >= IMPERATIVE[age]])
    again, warm = draw.random() < APPEAL, draw.random() < WARM[age]
    parts.append(appeals[1][draw.random() >= IMPERATIVE[age]] if again else draw.choice(CLOSINGS_WARM if warm else CLOSINGS_PLAIN))
    return " ".join(parts)


def _begin(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]


def _promise(sentence: str, p_certain: float, draw: random.Random) -> str:
    certain, adverb = draw.random() < p_certain, draw.random() < ADVERB
    slot = next(slot for slot in CERTAIN if slot in sentence)
    return sentence.replace(slot, draw.choice((CERTAIN if certain else HEDGED)[slot][adverb]))


def rows(grid: Grid) -> Iterator[dict[str, str | int]]:
    """The rows of messages.jsonl."""
    draw = random.Random(SEED)
    seen: set[str] = set()
    for block in range(grid.blocks):
        half = (CERTAIN_MEN - CERTAIN_WOMEN) / 2 + draw.gauss(0, SPREAD)
        for cell in range(block * grid.size, (block + 1) * grid.size):
            row = grid.row(cell)
            p = (CERTAIN_MEN + CERTAIN_WOMEN) / 2 + (half if row["gender"] == "men" else -half)
            for number in range(DRAFTS):
                while True:
                    draft = text(row, min(max(p, 0.02), 0.98), draw)
                    if FEWEST <= len(draft.split()) <= MOST and draft not in seen:
                        break
                seen.add(draft)
                yield {**row, "draw": number, "text": draft}


# --- what is planted, by counts of words alone

C = re.compile(r"\b(?:will|must|shall|definitely|certainly)\b", re.IGNORECASE)
HD = re.compile(r"\b(?:might|may|could|can|perhaps|possibly)\b", re.IGNORECASE)
IMPERATIVES = {i for pairs in (APPEALS, *OWN_APPEALS.values()) for i, _ in pairs}


def measures(table: TextTable) -> dict[str, np.ndarray]:
    """Name → float64[n]."""
    certain = np.array([len(C.findall(t)) for t in table.texts], float)
    hedged = np.array([len(HD.findall(t)) for t in table.texts], float)
    return {
        "modality M = (C - Hd) / (C + Hd)": (certain - hedged) / (certain + hedged),
        "imperatives I": np.array([sum(i in t for i in IMPERATIVES) for t in table.texts], float),
        "warm closings": np.array([sum(w in t for w in CLOSINGS_WARM) for t in table.texts], float),
        "words": np.array([len(t.split()) for t in table.texts], float),
        "characters a word, audiences hidden": np.array([len(t) / len(t.split()) for t in table.hidden().texts]),
        "facts": np.array([sum(f in t for own in FACTS.values() for f in own) for t in table.texts], float),
    }


def contrasts(table: TextTable) -> list[tuple[str, str, float, float, float]]:
    """Measure, axis, difference of means, d of single texts, t over blocks. Men less women; the oldest less the youngest."""
    found = []
    for name, values in measures(table).items():
        arranged = table.arranged(values)  # blocks, ages, genders, draws
        for axis, gap in (
            ("men less women", (arranged[:, :, 0] - arranged[:, :, 1]).mean((1, 2))),
            ("65 and over less 18-29", (arranged[:, 3] - arranged[:, 0]).mean((1, 2))),
        ):
            t = gap.mean() / (gap.std(ddof=1) / np.sqrt(len(gap)))
            found.append((name, axis, float(gap.mean()), float(gap.mean() / values.std()), float(t)))
    return found


README = """# The sample of texts

{n} messages of a made-up campaign for a free home energy check: {cells} audiences (4 themes x 4 regions x 4 ages x 2 genders), {draws} drafts each, {low} to
{high} words. Written for this project and under its licence (MIT); every figure and number in the texts is invented. `runs/sample_texts.py` puts
them together from sentences written there, with seed {seed}, and writes this page.

The messages differ between audiences on purpose, so that an audit has something known to find. They say nothing about what people or language
models write.

Planted: promises are certain (will, must, definitely, certainly) more often for men and hedged (can, may, could, might, possibly, perhaps) more
often for women, by an amount that differs between themes and regions; appeals are imperatives more often for the young; closings are somewhat
warmer for the old. Not planted, and so without a difference but for chance: all else, such as formality and length by gender.

Measured by counts of words. d: the difference of means over the standard deviation of single texts. t: over the {blocks} combinations of theme and
region, {df} degrees of freedom (beyond 2.13 either way: p < .05).

| measure | between | difference | d | t |
|---|---|---|---|---|
{lines}
"""


def readme(table: TextTable) -> str:
    lines = "\n".join(f"| {m} | {a} | {x:+.2f} | {d:+.2f} | {t:+.1f} |" for m, a, x, d, t in contrasts(table))
    words = [len(t.split()) for t in table.texts]
    blocks = table.grid.blocks
    return README.format(
        n=len(table), cells=len(table.grid), draws=table.draws, low=min(words), high=max(words), seed=SEED, blocks=blocks, df=blocks - 1, lines=lines
    )  # fmt: skip


def main() -> None:
    grid = load_grid(PLACE / "grid.toml")
    written = list(rows(grid))
    (PLACE / "messages.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in written), encoding="utf-8")
    page = readme(read_texts(written, grid, "sample").runs["sample"])
    (PLACE / "README.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
