"""How sure a text is: words of certainty (will, must, shall, definitely, certainly) and hedges (may, might, could, can, perhaps, possibly).

A word is left alone where its change would make no grammatical sentence or another meaning: names and nouns ("free will", "a must", "the
month of May"), questions ("Will you …"), what depends on an if, "cannot", "could have", "as soon as you can", quotations.
"""

from __future__ import annotations

import re

from evenhand.texts.revising.places import (
    DETERMINERS,
    SUBJECTS,
    after,
    asks,
    before,
    edited,
    is_title,
    like,
    sentence_before,
    starts_sentence,
    whole,
    words,
)

SURELY = r"(?:most |almost |quite )?(?:definitely|certainly|surely|undoubtedly)"
WILL = re.compile(whole(rf"(?:{SURELY} )?will(?: {SURELY}| probably)?"), re.IGNORECASE)
SHORT_WILL = re.compile(rf"(?<=\w)['’]ll(?: {SURELY}| probably)?(?![\w'’-])", re.IGNORECASE)
WILL_NOT = re.compile(whole(r"won['’]t"), re.IGNORECASE)
MUST = re.compile(whole(rf"(?:{SURELY} )?must(?: {SURELY})?"), re.IGNORECASE)
SHALL = re.compile(whole(rf"shall(?: {SURELY})?"), re.IGNORECASE)
ADVERB = re.compile(rf"(?<![\w'’-]){SURELY}(?![\w'’-])(?P<comma>,?)", re.IGNORECASE)
NO_DOUBT = re.compile(whole(r"without (?:a|any) doubt"), re.IGNORECASE)
NEED = re.compile(whole(r"(?<=\byou )(?:need|have) to|(?<=\bwe )(?:need|have) to"), re.IGNORECASE)

OF_NOUN_WILL = DETERMINERS | words("free good ill strong political own at iron divine last public of living sheer")
INVERTED = (SUBJECTS | DETERMINERS) - {"no", "some", "any"}  # subjects that follow their verb in questions
NOT_AFTER_MODAL = words("to of and or is was are were may might could can would should will must")
LATER = words("also always all both now first still never not only even then just have be")  # words after which "want to" fails
CONDITIONS = words("if when whenever what whatever how where wherever whether all that as everything anything unless than")


def softer(text: str) -> str:
    """Hedges in the place of certainty: "You will save" → "You may save", "we must act" → "we may want to act"."""
    text = edited(text, WILL, _will)
    text = edited(text, SHORT_WILL, lambda m: m[0] if after(m) in INVERTED else " may")
    text = edited(text, WILL_NOT, lambda m: m[0] if is_title(m[0]) or after(m) in INVERTED else like(m[0], "may not"))
    text = edited(text, MUST, _must)
    text = edited(text, SHALL, lambda m: m[0] if is_title(m[0]) or after(m) in INVERTED else like(m[0], "may"))
    text = edited(text, NEED, lambda m: "may want to" if _begins_clause(m) else m[0])
    text = edited(text, NO_DOUBT, lambda m: like(m[0], "quite possibly"))
    return edited(text, ADVERB, _unsure)


def _will(m: re.Match[str]) -> str:
    precedes, follows = before(m), after(m)
    if is_title(m[0]) or precedes in OF_NOUN_WILL or precedes.endswith("'s") or follows in INVERTED | NOT_AFTER_MODAL:
        return m[0]
    return like(m[0], "may")


def _must(m: re.Match[str]) -> str:
    follows = after(m)
    if is_title(m[0]) or before(m) in DETERMINERS or follows in INVERTED or not follows:
        return m[0]
    if follows == "have" and re.search(r"(?:ed|en|wn|ne|de|ad|pt|ght)$", after(m, 2)):
        return like(m[0], "may")
    return like(m[0], "may want to" if before(m) in ("you", "we") and follows not in LATER else "should")


def _begins_clause(m: re.Match[str]) -> bool:
    """Whether "you need to" begins a clause: not "what you need to", "if you have to", "do you need to"."""
    return before(m, 2) in ("", "and", "so", "but", "because", "then", "now")


def _unsure(m: re.Match[str]) -> str:
    quite, word = m[0].lower().startswith(("most", "almost", "quite")), m[0].lower()
    if not after(m) and starts_sentence(m) and not m["comma"]:
        return m[0]  # "Definitely!"
    if before(m) == "but":
        return m[0]  # "slowly but surely"
    new = "quite possibly" if quite else "possibly" if "definitely" in word else "perhaps"
    if m["comma"] and starts_sentence(m):
        return like(m[0].rstrip(","), new)  # "Certainly, we" → "Perhaps we"
    return like(m[0].rstrip(","), new) + m["comma"]


MAY = re.compile(whole(r"(?:may|might|could|can)(?: (?:well|perhaps|possibly|maybe|probably))?"), re.IGNORECASE)
WANT = re.compile(whole(r"(?:may|might|could) (?:want|wish|like) to"), re.IGNORECASE)
PERHAPS = re.compile(r"(?<![\w'’-])(?:quite possibly|perhaps|possibly|maybe|probably)(?![\w'’-])(?P<comma>,?)", re.IGNORECASE)
SHOULD = re.compile(whole(r"should|shouldn['’]t"), re.IGNORECASE)
BETWEEN = words("also really quickly easily soon still even only actually greatly truly together directly simply just help")
# Verbs after which "can" and "could" speak of what comes about, not of what is allowed or able
EFFECTS = words(
    "save cut lower help protect make keep reduce improve bring grow create build lead mean give provide ensure support change spare prevent stop "
    "strengthen boost power ease raise turn transform show find feel see enjoy gain earn benefit secure start end win hold clear tell take sleep breathe cover "
    "pay trim notice warm cool heal shape drive add free finish meet work last stay live come fall rise increase shield defend inspire deliver achieve use "
    "measure spread lift unite serve begin shorten lighten brighten happen"
)
NOUNS = DETERMINERS | {"trash", "tin", "garbage", "soda", "all", "in", "of", "since", "by", "until", "will", "must", "should"}


def firmer(text: str) -> str:
    """Certainty in the place of hedges: "This may help" → "This will help", "you should call" → "you must call"."""
    text = edited(text, WANT, lambda m: like(m[0], "must") if before(m) in ("you", "we") and _is_plain(m) else m[0])
    text = edited(text, MAY, _may)
    text = edited(text, SHOULD, _should)
    return edited(text, PERHAPS, _sure)


def _is_plain(m: re.Match[str]) -> bool:
    """No question, no name, nothing that depends on a condition before it."""
    return not (
        is_title(m[0]) or asks(m) or after(m) in INVERTED or before(m, 2) in CONDITIONS or before(m) in CONDITIONS - {"that", "all"}
    )


def _may(m: re.Match[str]) -> str:
    modal, follows, precedes = m[0].lower().split()[0], after(m), before(m)
    if (
        not _is_plain(m)
        or precedes in NOUNS
        or not follows
        or follows in NOT_AFTER_MODAL | {"have", "as", "want", "wish", "like"}
        or "'" in follows
    ):
        return m[0]
    if modal in ("may", "might"):
        return like(m[0], "will")
    if modal == "could" and (
        re.search(r"\b(?:if|wish|wished|thought|said|knew|hoped|were|was|had|did)\b", sentence_before(m)) or follows == "use"
    ):
        return m[0]
    verb = after(m, 2) if follows in BETWEEN else follows
    effect = verb in EFFECTS or (follows == "help") or (modal == "could" and follows == "be")
    return like(m[0], "will") if effect else m[0]


def _should(m: re.Match[str]) -> str:
    if (
        not _is_plain(m)
        or before(m) not in ("you", "we", "they", "everyone", "everybody")
        or after(m) in NOT_AFTER_MODAL | {"have", "be", ""}
    ):
        return m[0]
    return like(m[0], "must" if m[0].lower() == "should" else "must not")


def _sure(m: re.Match[str]) -> str:
    word, follows = m[0].lower().rstrip(","), after(m)
    if asks(m) or (
        (not m["comma"] and (not follows or follows in ("even", "because", "later", "can", "could", "may", "might")))
        or follows[:1].isdigit()
    ):
        return m[0]
    if starts_sentence(m):
        if follows in ("not", "it's", "that's") or (not follows and not m["comma"]):
            return m[0]
        return like(m[0][0], "Certainly,")
    if word == "maybe" or before(m) in (
        "",
        "not",
        "cannot",
        "can't",
        "couldn't",
        "than",
        "as",
        "if",
        "or",
        "even",
        "and",
        "can",
        "could",
        "may",
        "might",
    ):
        return m[0]
    return like(m[0].rstrip(","), "certainly") + m["comma"]
