"""How forceful the verbs of a text are: pairs of verbs near in meaning, of which one lets its subject act on the world more than the other
(agency in the sense of Sap et al. 2017, EMNLP, D17-1247).

A form keeps its inflection. A form that may be a noun ("demand", "claims") is changed only where it stands as a verb: after to, a modal
verb, a subject, or at the start of a sentence before an article or pronoun. Nothing is changed after an article ("the reduced price").
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from evenhand.texts.revising.places import DETERMINERS, after, before, edited, is_title, like, starts_sentence, whole, words

Forms = tuple[str, str, str, str, str]  # base, he …, past, participle, -ing


@dataclass(frozen=True)
class Verb:
    """forms: of its first word. rest: what follows it ("over" in "watch over"). noun: whether base and -s form may be nouns or adjectives.
    object: a pattern for what must follow, where the verb has other meanings.
    """

    forms: Forms
    rest: str = ""
    noun: bool = False
    object: str = ""


def verb(words: str, noun: bool = False, forms: str = "", object: str = "") -> Verb:
    """words: base form and what follows it. forms: the other four where they are irregular."""
    base, _, rest = words.partition(" ")
    return Verb((base, *forms.split()) if forms else _regular(base), rest, noun, object)  # type: ignore[arg-type]


def _regular(base: str) -> Forms:
    ends_in_y = re.search(r"[^aeiou]y$", base)
    stem = base[:-1] if ends_in_y or base.endswith("e") else base
    s = f"{stem}ies" if ends_in_y else f"{base}es" if re.search(r"(?:s|x|z|ch|sh)$", base) else f"{base}s"
    past = f"{stem}ied" if ends_in_y else f"{stem}ed"
    return base, s, past, past, f"{base if ends_in_y else stem}ing"


AMOUNT = r"(?: [\w'’-]+){0,4} (?:costs?|bills?|prices?|emissions?|taxes|tax|spending|waste|usage|rates?|risks?|pollution|consumption|expenses|losses|debts?|demand)(?!\w)"
YOURS = r" (?:your|a|an|their|our) "
OWNED = r" (?:your|the|their|our|its|his|her|my|a|this|that|these|those|every) "
THINGS = r" (?!me\b|you\b|us\b|him\b|them\b|her\b(?! \w))"
UNSHIELDED = r"(?![^.,;:!?\n]{0,200} (?:from|against) )"  # "protect … from …" has no calm twin

CALMER = (  # forceful, calm
    (verb("reduce"), verb("lower")),
    (verb("cut", True, "cuts cut cut cutting", AMOUNT), verb("lower")),
    (verb("slash", True, "", AMOUNT), verb("lower")),
    (verb("protect", object=UNSHIELDED), verb("watch over")),
    (verb("guard", True, object=UNSHIELDED), verb("watch over")),
    (verb("defend", object=UNSHIELDED), verb("stand by", forms="stands stood stood standing")),
    (verb("strengthen"), verb("support")),
    (verb("boost", True), verb("support")),
    (verb("bolster", True), verb("support")),
    (verb("demand", True), verb("ask for")),
    (verb("insist on"), verb("ask for")),
    (verb("fight for", True, "fights fought fought fighting"), verb("speak up for", forms="speaks spoke spoken speaking")),
    (verb("push for", True), verb("ask for")),
    (verb("fight", True, "fights fought fought fighting"), verb("face")),
    (verb("combat", True), verb("face")),
    (verb("tackle", True), verb("face")),
    (verb("confront"), verb("face")),
    (verb("overcome", False, "overcomes overcame overcome overcoming"), verb("cope with", forms="copes coped coped coping")),
    (verb("conquer"), verb("cope with", forms="copes coped coped coping")),
    (verb("seize"), verb("accept")),
    (verb("grab", True, "grabs grabbed grabbed grabbing"), verb("accept")),
    (verb("claim", True, object=YOURS), verb("receive")),
    (verb("earn"), verb("receive")),
    (verb("gain", True), verb("receive")),
    (verb("obtain"), verb("receive")),
    (verb("achieve"), verb("reach")),
    (verb("establish"), verb("set up", forms="sets set set setting")),
    (verb("launch", True), verb("open")),
    (verb("transform", True), verb("change")),
    (verb("revolutionize"), verb("change")),
    (verb("reshape"), verb("change")),
    (verb("upgrade", True), verb("update")),
    (verb("eliminate"), verb("remove")),
    (verb("eradicate"), verb("remove")),
    (verb("maximize"), verb("make the most of", forms="makes made made making")),
    (verb("discover"), verb("notice")),
    (verb("explore"), verb("look at")),
)
BOLDER = (  # calm, forceful
    (verb("lower", True, object=OWNED), verb("reduce")),
    (verb("trim", True, "trims trimmed trimmed trimming", AMOUNT), verb("cut", forms="cuts cut cut cutting")),
    (verb("watch over"), verb("protect")),
    (verb("look after", True), verb("protect")),
    (verb("stand by", True, "stands stood stood standing"), verb("defend")),
    (verb("support", True), verb("champion")),
    (verb("ask for"), verb("demand")),
    (verb("hope for", True, "hopes hoped hoped hoping"), verb("push for")),
    (verb("wish for", True), verb("push for")),
    (verb("face", True, "faces faced faced facing"), verb("tackle", forms="tackles tackled tackled tackling")),
    (verb("cope with", False, "copes coped coped coping"), verb("overcome", forms="overcomes overcame overcome overcoming")),
    (verb("receive"), verb("obtain")),
    (verb("set up", True, "sets set set setting"), verb("establish")),
    (verb("update", True, object=THINGS), verb("upgrade")),
    (verb("remove"), verb("eliminate")),
    (verb("find", True, "finds found found finding", r" (?:how|what|where|why|which|ways|new) "), verb("discover")),
    (verb("notice", True), verb("discover")),
    (verb("look into", True), verb("explore")),
    (verb("make the most of", False, "makes made made making"), verb("maximize")),
)

HELPS = words("to will can could may might must should would shall please not help helps let's i we you they who and")
HE = words("he she it who which that this one everyone everybody nobody")
HAD = words("has have had was were is are been be being i we you he she it they who and")
PERFECT = words("has have had is are was were be been being")
DOING = words(
    "by of for in is are am be been was were while without from on about keep keeps start starts stop i'm we're you're they're it's to before after"
)
CUTS_OFF = words(  # after which an object is missing
    "for from of in with by at as against on over out up down off through about into and or but nor than if when while because so to is are was were be been "
    "has have had will can may must that whether back away it's"
)


def calmer(text: str) -> str:
    """Calm verbs in the place of forceful ones: "protect your family" → "watch over your family"."""
    return _exchanged(text, "calmer")


def bolder(text: str) -> str:
    """Forceful verbs in the place of calm ones: "receive a grant" → "obtain a grant"."""
    return _exchanged(text, "bolder")


def _exchanged(text: str, rule: str) -> str:
    pattern, forms = _forms(rule)

    def exchanged(m: re.Match[str]) -> str:
        given = m[0].lower()
        return next((like(m[0], new) for old, new, form in forms[given] if _stands_as_verb(m, old, form)), m[0])

    return edited(text, pattern, exchanged)


@cache
def _forms(rule: str) -> tuple[re.Pattern[str], Mapping[str, Sequence[tuple[Verb, str, int]]]]:
    """A pattern of all forms, the longest first, and each form's verb, what takes its place, and which form of the verb it is."""
    found: dict[str, list[tuple[Verb, str, int]]] = {}
    for old, new in CALMER if rule == "calmer" else BOLDER:
        for at, (one, other) in enumerate(zip(old.forms, new.forms)):
            found.setdefault(f"{one} {old.rest}".strip(), []).append((old, f"{other} {new.rest}".strip(), at))
    return re.compile(whole("|".join(sorted(found, key=lambda w: (-len(w), w)))), re.IGNORECASE), found


def _stands_as_verb(m: re.Match[str], old: Verb, form: int) -> bool:
    precedes, follows = before(m), after(m)
    if (
        precedes in DETERMINERS
        or follows in CUTS_OFF
        or not follows
        or follows.endswith(("self", "selves"))
        or (is_title(m[0]) and not starts_sentence(m))
    ):
        return False
    if old.object and not re.match(old.object, m.string[m.end() : m.end() + 250]):
        return False
    if form == 0:
        if precedes in PERFECT:  # "have cut", "are set": the participle
            return False
        return precedes in HELPS - {"and"} or (starts_sentence(m) and follows in OBJECTS) or (not old.noun and not starts_sentence(m))
    if form == 1:
        return precedes in HE if old.noun else not starts_sentence(m)
    if form in (2, 3):
        return precedes in HAD
    return precedes in DOING or starts_sentence(m)


OBJECTS = words(
    "a an the your our my his her their its this that these those it them us me you yourself every each all both more less what how where"
)
