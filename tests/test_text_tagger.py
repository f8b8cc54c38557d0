"""Parts of speech and imperatives: sentences whose imperatives were counted by hand, by either tagger; cuts into sentences; odd texts."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evenhand.texts.reading import rule_tagger, spacy_tagger
from evenhand.texts.reading.sentences import sentences
from evenhand.texts.reading.tagger import Tags, tagged, tagger_name
from evenhand.texts.reading.tags import together

with_spacy = pytest.mark.skipif(not spacy_tagger.installed(), reason="spaCy and its model are not installed")

# (sentence, verbs in the imperative). The rules were made on the first list; the others were written and counted before anything had been run on them.
# "Let us" and "let's" count once, whatever follows; "thank you" is none.
SEEN = [
    ("Join us and save.", 2),
    ("Support clean energy today.", 1),
    ("We should support clean energy.", 0),
    ("Vote early, vote often.", 2),
    ("You must act now.", 0),
    ("Don't wait until it is too late.", 1),
    ("Never let anyone tell you that your voice does not count.", 1),
    ("Please call your senator.", 1),
    ("If you care about your family, get vaccinated.", 1),
    ("To protect your grandchildren, choose wind and solar.", 1),
    ("Let's build a cleaner future together.", 1),
    ("Let us stand together and protect our rivers.", 1),
    ("Thank you for your support.", 0),
    ("Clean energy creates jobs and lowers bills.", 0),
    ("Energy independence makes our nation strong.", 0),
    ("Choosing renewables helps everyone.", 0),
    ("Imagine a future without smog.", 1),
    ("Embrace the change, invest in solar, and lead the way.", 3),
    ("As a young woman in the Midwest, you can make a difference.", 0),
    ("As a senior in the Southwest, consider switching to solar power.", 1),
    ("Be the change you want to see.", 1),
    ("Be proud of what our miners built, and keep it going.", 2),
    ("Get your shot and protect the ones you love.", 2),
    ("Take action now: sign the petition.", 2),
    ("Ask your doctor about the vaccine.", 1),
    ("Help protect our planet by driving less.", 1),
    ("Do it for your kids.", 1),
    ("Do you want cheaper power?", 0),
    ("Ladies, stand up for clean air!", 1),
    ("Men of the West, lead the charge.", 1),
    ("Together, we can power America.", 0),
    ("Together, let's secure our future.", 1),
    ("Stay informed, talk to your neighbors, and trust the science.", 3),
    ("The time to act is now.", 0),
    ("It is time to take a stand.", 0),
    ("Your choice matters.", 0),
    ("Say no to costly climate rules.", 1),
    ("Stop the government from raising your bills.", 1),
    ("Natural gas keeps homes warm; coal keeps jobs here.", 0),
    ("Think of the animals that lose their homes.", 1),
    ("Remember, every kilowatt counts.", 1),
    ("Go solar.", 1),
    ("Save money. Save lives.", 2),
    ("Power your home with the sun.", 1),
    ("Fuel growth and cut waste.", 2),
    ("Demand better from Washington.", 1),
    ("Back the candidates who back coal.", 1),
    ("Why wait?", 0),
    ("Make the switch to renewables, and breathe easier.", 2),
    ("Speak up, because silence costs lives.", 1),
    ("My mother got her shot and felt fine.", 0),
    ("I urge you to join the movement.", 0),
    ("Find a clinic near you and bring a friend.", 2),
    ("Keep America great by supporting our drillers.", 1),
    ("Whether you rent or own, look into community solar.", 1),
    ("Reject fear and embrace facts.", 2),
    ("Our parks, our farms, our future.", 0),
    ("No more delays!", 0),
    ("Let your voice be heard at the town hall on Monday.", 1),
    ("Strengthen your community's health.", 1),
]
UNSEEN = [
    ("Protect your loved ones and roll up your sleeves.", 2),
    ("Get the facts before you decide.", 1),
    ("Vaccines saved my grandfather's life.", 0),
    ("Check the schedule, book a time, and come early.", 3),
    ("Wind turbines now power a third of the state.", 0),
    ("Consider what your grandchildren will breathe.", 1),
    ("You can count on us to listen.", 0),
    ("Secure your retirement with lower energy bills.", 1),
    ("For the sake of our rivers, vote yes on the measure.", 1),
    ("Guys, do not sit this one out.", 1),
    ("Please don't ignore the warning signs.", 1),
    ("Should we really pay more for less?", 0),
    ("Champion the jobs that built this town.", 1),
    ("Lead by example and show your kids what courage looks like.", 2),
    ("Working families deserve affordable power.", 0),
    ("When your turn comes, take it.", 1),
    ("Turn down the heat, seal the windows, and watch your bill fall.", 3),
    ("Trust is built one conversation at a time.", 0),
    ("Trust your doctor, not the rumors.", 1),
    ("Talk with a nurse if you have questions.", 1),
    ("Hope is not a plan.", 0),
    ("Stand with our farmers.", 1),
    ("Every shot brings us closer to normal.", 0),
    ("Open your heart to the next generation.", 1),
    ("Let our children inherit clean water.", 1),
    ("Look at the numbers: solar costs half of what it did.", 1),
    ("I hope you will think about it.", 0),
    ("Perhaps you could ask a friend to come along.", 0),
    ("Grab your coat, visit the clinic and be done in ten minutes.", 3),
    ("Seniors, your wisdom matters: share it.", 1),
    ("Lower costs mean more money for groceries.", 0),
    ("Lower your costs with a heat pump.", 1),
    ("Don't let politics decide your health.", 1),
    ("Tell Congress to fund research.", 1),
    ("Drill here, drill now, pay less.", 3),
    ("The drillers of Texas pay taxes and feed families.", 0),
    ("Wear a mask, wash your hands, and stay home when sick.", 3),
    ("See how much you could save.", 1),
    ("Believe in American energy.", 1),
    ("Plan for tomorrow today.", 1),
    ("Plans for a new plant were approved.", 0),
    ("Honor their sacrifice by keeping the lights on.", 1),
    ("What can one person do?", 0),
    ("Start small: replace one bulb.", 2),
    ("Some people wait; others act.", 0),
    ("Give yourself peace of mind.", 1),
    ("Young adults, invest in the world you will inherit.", 1),
    ("In the Northeast, winters are long and fuel is dear.", 0),
    ("Feel free to bring your questions.", 1),
    ("Count me in!", 1),
    ("Always ask where the money goes.", 1),
    ("So join your neighbors this Saturday.", 1),
    ("And remember to bring your card.", 1),
    ("With every vote, you shape the grid.", 0),
    ("Come home to clean air.", 1),
    ("Change begins with you.", 0),
    ("Change the way you drive.", 1),
    ("Fight for lower bills and win back control.", 2),
    ("Everyone should do their part.", 0),
    ("Learn more at the library, or ask us.", 2),
    ("Dear neighbors, our valley deserves better.", 0),
    ("Make your appointment today and keep your grandchildren safe.", 2),
    ("Real men protect their families, so get the shot.", 1),
    ("Weigh the evidence, listen to your doctor, and decide for yourself.", 3),
    ("Solar panels pay for themselves in eight years.", 0),
    ("Unleash American energy!", 1),
    ("Do not let rising prices steal your retirement.", 1),
    ("Mothers know best: choose clean air.", 1),
    ("If we act now, we can still turn this around.", 0),
    ("Remember that your health is your wealth.", 1),
    ("Rise to the challenge, and your children will thank you.", 1),
    ("Vaccination is safe, free and quick.", 0),
    ("Show up, speak out, and stay strong.", 3),
    ("You might want to look into a heat pump.", 0),
    ("Put people before profits.", 1),
    ("Who will pay for all of this?", 0),
    ("Read the label, ask a pharmacist, and take your time.", 3),
    ("With your help, we will win.", 0),
    ("Let the market work.", 1),
    ("Picture a summer night when the stars come back.", 1),
    ("Veterans, your country needs you again.", 0),
    ("Oil and gas keep the lights on across the Southwest.", 0),
    ("Keep the lights on across the Southwest.", 1),
    ("Before winter comes, insulate your attic.", 1),
    ("Try it for a month and see the difference.", 2),
    ("Sharing a ride saves fuel.", 0),
    ("Share a ride to save fuel.", 1),
    ("Our message is simple: stand together or fall apart.", 2),
    ("I would be glad to answer your questions.", 0),
    ("Use your voice, use your vote.", 2),
    ("Work with us for a fair transition.", 1),
    ("Hard work built this region.", 0),
    ("Please, for once, put the planet first.", 1),
    ("Never underestimate what a small town can do.", 1),
    ("Consider this: one turbine powers five hundred homes.", 1),
    ("Farmers feed us, and they deserve fair rules.", 0),
    ("Bring your mask; leave your doubts at home.", 2),
    ("Your grandmother waited in line for the polio vaccine.", 0),
    ("Ladies and gentlemen, the choice is ours.", 0),
    ("Ensure a steady income for your later years by investing in local wind.", 1),
]


def wrong(records: Callable, counted: list[tuple[str, int]]) -> list[str]:
    return [s for (s, n), found in zip(counted, records([s for s, _ in counted])) if together([found]).imperatives != n]


@with_spacy
def test_imperatives_by_spacy() -> None:
    """In 5 of 100 unseen sentences the count is another one; all five have a verb that the model took for a noun, or cut off."""
    assert len(wrong(spacy_tagger.records, SEEN)) <= 2
    assert wrong(spacy_tagger.records, UNSEEN) == [
        "Check the schedule, book a time, and come early.",
        "Lead by example and show your kids what courage looks like.",
        "Drill here, drill now, pay less.",
        "Real men protect their families, so get the shot.",
        "Unleash American energy!",
    ]


def test_imperatives_by_rule() -> None:
    assert len(wrong(rule_tagger.records, SEEN)) <= 4
    assert len(wrong(rule_tagger.records, UNSEEN)) <= 10


def test_the_sentences_say_something() -> None:
    """Both counts occur often, so that neither "always none" nor "always one" passes."""
    assert sum(n == 0 for _, n in UNSEEN) >= 30
    assert sum(n > 1 for _, n in UNSEEN) >= 15
    assert len({s for s, _ in SEEN + UNSEEN}) == len(SEEN) + len(UNSEEN)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Vote early. Vote often!", ["Vote early.", "Vote often!"]),
        ("Is it safe? Yes. 95 % say so.", ["Is it safe?", "Yes.", "95 % say so."]),
        ("Dr. Lee of the U.S. Senate met J. Smith at 9 a.m. Monday.", ["Dr. Lee of the U.S. Senate met J. Smith at 9 a.m. Monday."]),
        ("It costs 3.50 dollars. for now", ["It costs 3.50 dollars. for now"]),
        ("- Save money\n* Save lives\n2. Act now", ["Save money", "Save lives", "Act now"]),
        ('He said "Go." Then "Stay."', ['He said "Go."', 'Then "Stay."']),
        ("**Join us!** Today…\n\n# Why", ["Join us!", "Today…", "Why"]),
        ("Just say no. Get well.", ["Just say no.", "Get well."]),
        ("…!? \n - \n", []),
        ("", []),
    ],
)
def test_cut_into_sentences(text: str, cut: list[str]) -> None:
    assert sentences(text) == cut


@pytest.mark.parametrize("records", [pytest.param(spacy_tagger.records, marks=with_spacy), rule_tagger.records])
def test_parts_of_speech(records: Callable) -> None:
    [record] = records(["The brave women of our towns quickly built seven strong bridges."])
    tags = together([record])
    assert tags.nouns == ("woman", "town", "bridge")
    assert tags.adjectives == ("brave", "strong")
    assert tags.tokens == 11
    assert {k: tags.pos[k] for k in ("DET", "ADP", "PRON", "ADV", "VERB", "NUM", "PUNCT")} == {
        "DET": 1, "ADP": 1, "PRON": 1, "ADV": 1, "VERB": 1, "NUM": 1, "PUNCT": 1,
    }  # fmt: skip


@with_spacy
def test_a_text_is_its_sentences_and_nothing_beside_it_matters(tmp_path: Path) -> None:
    texts = [f"{a} {b}" for a, _ in SEEN[:8] for b, _ in UNSEEN[:8]]
    together = tagged(texts, tmp_path / "a")
    alone = [tagged([text], tmp_path / "b")[0] for text in texts[::9]]
    assert together[::9] == alone
    assert tagged(texts[::-1], tmp_path / "c")[::-1] == together
    one, two = tagged([SEEN[0][0], UNSEEN[0][0]], tmp_path / "d")
    assert together[0] == Tags(
        {k: one.pos.get(k, 0) + two.pos.get(k, 0) for k in {**one.pos, **two.pos}}, one.imperatives + two.imperatives, one.nouns + two.nouns,
        one.adjectives + two.adjectives, one.tokens + two.tokens,
    )  # fmt: skip


ODD = {
    "empty": "", "spaces": " " * 20_000, "points": "." * 20_000, "one letter": "a" * 20_000, "quotes": '"' * 9_999 + "A", "emoji": "🌱🔥" * 10_000,
    "families": "👩‍👩‍👧 " * 4000, "right to left": "انضم إلينا اليوم. " * 1000, "hyphens": "-a" * 1000, "surrogates": "x \ud800 y. \udfff Z",
    "combining": "e\u0301" * 10_000, "lines": "a\n" * 1000, "marks": "\u202e\u2066 join us \u2069",
}  # fmt: skip


@pytest.mark.parametrize("installed", [pytest.param(True, marks=with_spacy), False])
def test_odd_texts(installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spacy_tagger, "installed", lambda: installed)
    began = time.process_time()
    found = dict(zip(ODD, tagged([*ODD.values()], tmp_path)))
    assert time.process_time() - began < 10  # quotes alone took two minutes before runs without a space were cut
    assert [name for name, tags in found.items() if not tags.tokens] == ["empty", "spaces", "points", "emoji", "families"]
    assert found["empty"] == Tags({}, 0, (), (), 0)
    assert found["marks"].imperatives <= 1
    assert tagged([*ODD.values()], tmp_path) == [*found.values()]  # from the cache


def test_the_rule_stands_in_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spacy_tagger, "installed", lambda: False)
    assert "rule" in tagger_name()
    assert tagged(["Join us and save."], tmp_path)[0].imperatives == 2
    monkeypatch.undo()
    if spacy_tagger.installed():
        assert tagger_name().startswith("spaCy 3")
        before = set(tmp_path.rglob("*.gz"))
        tagged(["Join us and save."], tmp_path)
        assert {p.parent for p in tmp_path.rglob("*.gz")} - {p.parent for p in before}  # what one found is not taken for the other's
