"""Parts of speech and imperatives by rule, where spaCy is not installed: closed classes and common verbs by list, the rest by ending.

It is coarser than a trained tagger (docs/texts.md says how much), and takes an unknown word for a noun.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache

from evenhand.texts.reading.agency import listed
from evenhand.texts.reading.tags import Record, record

TOKEN = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")
ADJECTIVE = re.compile(r".{2,}(?:ous|ful|ive|able|ible|al|ic|less|ish|ary|ent|ant)")
NO_ADJECTIVE = re.compile(
    r".*(?:ment|imal|pital|posal|rival|signal|goal|fabric|traffic|music|public|clinic|event|talent|percent|parent|patient|president|student|plant|grant)"
)
BEFORE_NOUN = frozenset({"DET", "ADJ", "ADP", "NUM"})
POSSESSIVE = frozenset({"my", "your", "his", "her", "its", "our", "their"})
PLURALS = {"children": "child", "men": "man", "women": "woman", "lives": "life", "wives": "wife", "feet": "foot", "teeth": "tooth"}
LET = "let's"
JOINTS = frozenset({",", ";", ":", "-", "–", "—", "and", "or", "but", "then"})
# What may stand before a verb in the imperative, and what begins a clause that only leads in ("If you care, vote").
OPENERS = frozenset(
    {
        "please",
        "so",
        "and",
        "but",
        "or",
        "then",
        "always",
        "never",
        "also",
        "just",
        "now",
        "today",
        "together",
        "instead",
        "not",
        "do",
        "don't",
    }
)
LEADING = frozenset(
    {
        "if",
        "when",
        "whenever",
        "whether",
        "because",
        "since",
        "while",
        "although",
        "though",
        "to",
        "for",
        "as",
        "in",
        "with",
        "by",
        "from",
        "at",
        "on",
        "after",
        "before",
    }
)


def name() -> str:
    return "a rule of this package (spaCy is not installed)"


def about() -> str:
    """All that decides what is found."""
    return "evenhand's rule 1"


def records(sentences: Sequence[str]) -> list[Record]:
    """Tags of each sentence."""
    return [_record(s) for s in sentences]


@cache
def _closed() -> Mapping[str, str]:
    """Word → its part of speech."""
    return {word: kind for kind, *words in reversed(listed("closed_classes")) for word in words}


@cache
def _verbs() -> Mapping[str, str]:
    """Form of a verb → its base form."""
    every = [verb for file in ("other_verbs", "low_agency", "high_agency") for verb in listed(file)]
    return {form: verb[0] for verb in every for form in verb} | {verb[0]: verb[0] for verb in every}


def _record(sentence: str) -> Record:
    tokens = TOKEN.findall(sentence.replace("’", "'"))
    kinds = _kinds(tokens)
    words = [(t.lower(), kind) for t, kind in zip(tokens, kinds) if kind not in ("PUNCT", "SYM")]
    nouns = [_singular(word) for word, kind in words if kind in ("NOUN", "PROPN")]
    adjectives = [word for word, kind in words if kind == "ADJ"]
    return record(kinds, nouns, adjectives, _imperatives([t.lower() for t in tokens], kinds), len(words))


def _kinds(tokens: Sequence[str]) -> list[str]:
    """The part of speech of each token."""
    kinds: list[str] = []
    for i, token in enumerate(tokens):
        word, last, before = token.lower(), tokens[i - 1].lower() if i else "", kinds[-1] if i else "PUNCT"
        if not any(c.isalnum() for c in word):
            kinds.append("PUNCT" if word.isascii() or word in "“”‘–—…•" else "SYM")
        elif word[0].isdigit():
            kinds.append("NUM")
        elif word in _closed():
            kinds.append(_closed()[word])
        elif word == LET:
            kinds.append("VERB")
        elif token[0].isupper() and before != "PUNCT":
            kinds.append("PROPN")
        elif word in _verbs():
            kinds.append("NOUN" if before in BEFORE_NOUN or last in POSSESSIVE else "VERB")
        elif word.endswith("ly") and len(word) > 4:
            kinds.append("ADV")
        elif ADJECTIVE.fullmatch(word) and not NO_ADJECTIVE.fullmatch(word):
            kinds.append("ADJ")
        else:
            kinds.append("NOUN")
    return kinds


def _singular(word: str) -> str:
    if word in PLURALS:
        return PLURALS[word]
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ses", "xes", "ches", "shes", "zes")) and not word.endswith(("uses", "ases")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3 else word


def _imperatives(words: Sequence[str], kinds: Sequence[str]) -> int:
    """Base forms of verbs at the beginning of a sentence; behind an address, or a clause that leads in ("Neighbors, vote", "If you care,
    vote"); and at the beginning of clauses behind another imperative ("Join us and save").
    """
    if words and words[-1] == "?":
        return 0
    found = 0
    begins, leads, verb_seen = True, bool(words) and words[0] in LEADING, False
    for i, (word, kind) in enumerate(zip(words, kinds)):
        if begins and (word == LET or (_verbs().get(word) == word and not _no_imperative(word, words[i + 1 :], kinds[i + 1 :]))):
            found += 1
            begins = False
        elif word in JOINTS and not (begins and word in OPENERS):
            begins = found > 0 or (word in (",", ":", ";", "–", "—", "-") and (leads or not verb_seen))
            leads = leads and not begins
        elif not (begins and (word in OPENERS or kind == "PUNCT")):
            begins = False
            verb_seen = verb_seen or kind in ("VERB", "AUX")
    return found


def _no_imperative(word: str, rest: Sequence[str], kinds: Sequence[str]) -> bool:
    """Whether what may be a verb in the base form is none: "Change begins with you", "Thank you", "Do you", "Power is …"."""
    following, kind = (rest[0], kinds[0]) if rest else ("", "PUNCT")
    if word == "thank" or (word in ("do", "have") and following in ("you", "we", "they", "i", "not")):
        return True
    if kind == "AUX":
        return following not in ("be", "do")
    return following in _verbs() and following.endswith("s") and _verbs()[following] != following
