"""How a text appeals to its readers: imperatives ("Join us"), suggestions ("You could join us"), invitations ("We invite you to join us").

An imperative is a verb of a list at the start of a sentence, before a word that can follow it there: many of these verbs are nouns as well
("Support from neighbors helps", "Help is here"), and these are left alone, as are questions and quotations.
"""

from __future__ import annotations

import re

from evenhand.texts.revising.places import START, after, asks, edited, like, whole, words

# Verbs that start a sentence as nothing but an imperative
PLAIN = words(
    "join choose get take make protect ask bring consider learn give keep invite discover explore reduce prevent defend ensure improve encourage "
    "embrace add avoid buy build install insulate recycle reuse unplug replace register enroll educate adopt advocate seize grab remind prepare "
    "arrange find see follow enjoy create develop imagine ride uphold meet bake celebrate"
)
# Verbs that may as well be nouns or adjectives there: only before words that follow a verb
TWOFOLD = words(
    "help support change call act vote visit plan start stop share check set turn switch use power fight stand look feel pay cut book save open close show tell "
    "send try pick put sign talk speak write read drive walk move lead push seal guard schedule contact reach step think go come stay end spend invest "
    "trust return boost raise lower heat cool fill click text email phone order cover wash wear shop watch listen compare wrap seek work sit claim request "
    "pass fix test track limit swap measure demand pledge refuse"
)
AFTER_TWOFOLD = words(
    "a an the your our my his her their its this that these those us me it them him up down off on out to now today tomorrow tonight early every each all both "
    "some any one two more less yourself yourselves ourselves over into around about together forward online ahead back here first yes no safe warm healthy "
    "strong well green local behind by money energy water time with at"
)
NEVER_AFTER = words(
    "is are was were be been has have had can will may must should could would might does did do comes means matters helps starts begins makes saves keeps "
    "works needs takes goes gives you we i they he she and or of as than that's not"
)
NOUN_BEFORE = {
    "at": {"help", "work", "support", "power"},
    "with": {"help", "work", "contact", "trust", "support"},
    "to": {"change", "power", "support", "open", "close", "set", "help"},
    "by": {"support", "change", "work", "power"},
}
LEAD = r"(?P<lead>(?:(?:So|And|But|Then|Today|Now|Together|Instead|Also|First|Tonight|Tomorrow|This (?:week|month|winter|fall|spring|summer|season|year)),? )?)"
IMPERATIVE = re.compile(
    START + LEAD + r"(?P<polite>(?:please )?)(?P<just>(?:just |simply )?)(?P<verb>[A-Za-z]+)(?=[ ][\w“\"'‘])", re.IGNORECASE
)
LETS = re.compile(whole(r"let['’]s") + r"(?=[ ][a-z])", re.IGNORECASE)
GET = words(
    "a an the your our my his her their this that these those it them up out in to on vaccinated involved started ready protected tested help"
)


def _is_imperative(m: re.Match[str]) -> bool:
    verb, follows = m["verb"].lower(), after(m)
    if asks(m) or follows in NEVER_AFTER or (m["verb"].isupper() and len(m["verb"]) > 1):
        return False
    if not (m["lead"] or m["polite"] or m["just"]) and m["verb"][0].islower():
        return False
    if verb == "be":
        return follows in ("part", "the", "a", "an", "one", "ready", "prepared")
    return _can_follow(verb, follows)


def _can_follow(verb: str, follows: str) -> bool:
    if verb == "get":
        return follows in GET
    if verb in PLAIN:
        return bool(follows)
    return verb in TWOFOLD and follows in AFTER_TWOFOLD and verb not in NOUN_BEFORE.get(follows, ())


def suggesting(text: str) -> str:
    """Suggestions in the place of imperatives: "Join us" → "You could join us", "Let's build" → "We could build"."""

    def suggested(m: re.Match[str]) -> str:
        if not _is_imperative(m):
            return m[0]
        return f"{m['lead']}{'you' if m['lead'] else 'You'} could {m['just'].lower()}{m['verb'].lower()}"

    text = edited(text, IMPERATIVE, suggested)
    return edited(text, LETS, lambda m: m[0] if asks(m) or after(m) in ("not", "face", "say") else like(m[0], "we could"))


def inviting(text: str) -> str:
    """The first imperative turned into an invitation: "Join us" → "We invite you to join us". Texts that invite already stay as they are."""
    if re.search(r"\binvit", text, re.IGNORECASE):
        return text
    done = False

    def invited(m: re.Match[str]) -> str:
        nonlocal done
        if done or not _is_imperative(m):
            return m[0]
        done = True
        return f"{m['lead']}{'we' if m['lead'] else 'We'} invite you to {m['just'].lower()}{m['verb'].lower()}"

    return edited(text, IMPERATIVE, invited)


COULD = re.compile(
    START + LEAD + r"You (?:(?:could|can|should)(?: also)?(?: (?:want|wish|like) to)?|(?:may|might) (?:want|wish|like) to) "
    r"(?P<just>(?:just |simply )?)(?P<verb>[a-z]+)(?=[ ][\w“\"'‘])",
    re.IGNORECASE,
)  # fmt: skip
TOGETHER = re.compile(START + LEAD + r"We (?:could|should|may want to|might want to) (?P<verb>[a-z]+)(?=[ ][\w“\"'‘])", re.IGNORECASE)
INVITES = re.compile(
    START + LEAD + r"We (?:would (?:like|love) to |warmly |kindly |gladly |want to )?(?:invite|encourage|urge|ask) you to (?P<just>(?:just |simply )?)(?P<verb>[a-z]+)"
    r"(?=[ ][\w“\"'‘])",
    re.IGNORECASE,
)  # fmt: skip
WHY_NOT = re.compile(START + r"Why not (?P<verb>[a-z]+)(?P<rest>[ ][^.!?\n\"“”]{1,200})\?")


def urging(text: str) -> str:
    """Imperatives in the place of suggestions and invitations: "You could join us" → "Join us", "We could build" → "Let's build"."""

    def urged(m: re.Match[str]) -> str:
        if asks(m) or not _can_follow(m["verb"].lower(), after(m)) or after(m) in NEVER_AFTER:
            return m[0]
        said = m["just"].lower() + m["verb"].lower()
        return m["lead"] + (said if m["lead"] else like("A", said))

    def together(m: re.Match[str]) -> str:
        if asks(m) or not _can_follow(m["verb"].lower(), after(m)) or after(m) in NEVER_AFTER | {"your", "yourself"}:
            return m[0]
        return f"{m['lead']}{'let' if m['lead'] else 'Let'}'s {m['verb'].lower()}"

    text = edited(edited(text, COULD, urged), INVITES, urged)
    text = edited(text, TOGETHER, together)
    return edited(
        text, WHY_NOT, lambda m: like("A", m["verb"]) + m["rest"] + "." if _can_follow(m["verb"], m["rest"].split()[0].lower()) else m[0]
    )
