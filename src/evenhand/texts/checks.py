"""Which texts of a run are usable at all, by their form: rules on words and characters, no model. A generator's usable share is printed
first, since gaps between texts of which most are refusals or loops say nothing.

Each rule errs on the side of letting a text pass: what it refuses is plainly no message. Meaning is not looked at: a text about another
theme that names no listed word passes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter

import numpy as np

from evenhand.texts.grid import Axis
from evenhand.texts.table import TextTable, any_of

WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
SENTENCE_END = re.compile(r"(?<!\.[A-Za-z])(?<!\b[A-Z])[.!?…]+[\"'”’)\]]*(?:\s+|$)|\n+")
UNDECIDED = 6  # words under which a text's language is not judged
PROMPT_RUN = 8  # words of the prompt in a row that no message repeats by chance
LATIN_SHARE = 0.8  # of letters, under which a text is in another script


@dataclass(frozen=True)
class Checked:
    """failed: check → bool[n], the texts that fail it. usable: bool[n], the texts that fail none."""

    failed: Mapping[str, np.ndarray]
    usable: np.ndarray

    @property
    def refused(self) -> dict[str, int]:
        """Check → how many texts fail it, the checks that refuse any."""
        return {name: int(bad.sum()) for name, bad in self.failed.items() if bad.any()}


def checked(table: TextTable, *, words: tuple[int, int] = (15, 90)) -> Checked:
    """The checks of form on every text. words: fewest and most words of a usable text.

    "length": words outside the band. "refusal": the writer says that it cannot write. "prompt repeated": instructions, an announcement such
    as "Here is a message", a label such as "Message:", or words of the prompt in a row. "loop": sentences or strings of words again and
    again. "cut off": no end of a sentence at the end. "another language": more function words of another language than of English in a
    sentence, or another script; under 6 words undecided. "placeholder left": {age}, [Name], ____. "markup": of Markdown, HTML, lists, chat
    templates. "names another AXIS": of an axis that is not matched and whose words the grid lists, those of another value and none of its
    own.
    """
    low, high = words
    rules: dict[str, Callable[[str], bool]] = {
        "length": lambda text: not low <= len(WORD.findall(text)) <= high,
        "refusal": refuses,
        "loop": loops,
        "cut off": is_cut,
        "another language": is_foreign,
        "placeholder left": has_placeholder,
        "markup": has_markup,
    }
    failed = {name: np.array([rule(t) for t in table.texts], bool) for name, rule in rules.items()}
    failed["prompt repeated"] = _repeats_prompt(table)
    for at, axis in enumerate(table.grid.axes):
        if not axis.matched and any(axis.words):
            failed[f"names another {axis.names[-1]}"] = _names_another(axis, table.texts, table.grid.cells[table.cell, at])
    return Checked(failed, ~np.any([*failed.values()], axis=0))


# --- refusals

_WRITING = r"(?:help|assist|provide|fulfil+|comply|create|generate|write|produce|complete|answer|continue|engage|participate|offer|promote)"
_CANNOT = r"(?:can\s?not|can['’]?t|won['’]?t|will not|(?:am|['’]m) (?:not able|unable)(?: to)?|(?:am|['’]m) not going to)"
REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model|chatbot|virtual assistant)\b|"
    r"\bI(?:['’]m| am) (?:just |only )?an? (?:ai|artificial intelligence|(?:large )?language model|chatbot|virtual assistant)\b|"
    r"\b(?:I(?:['’]m| am)(?: very| really| so| truly)? sorry|(?:my|I) apolog(?:ies|i[sz]e)|sorry)[,.;:]?(?: but)?(?: that)? (?:I|this) ?" + _CANNOT + r" (?:\w+ )?(?:" + _WRITING + r"|do|discuss|support|accommodate|proceed|share)\b|"
    r"\bI " + _CANNOT + r" " + _WRITING + r" (?:you (?:with|to)|with|this|that|the (?:request|message)|any (?:message|content)|an? (?:\w+ ){0,3}(?:message|content|response|text|statement)|(?:\w+ ){0,2}content|messages|requests)\b|"
    r"\bI(?:['’]m| am) (?:not able|unable) to " + _WRITING + r"\b|"
    r"\b(?:against|violates?) (?:my|our|openai['’]s) (?:guidelines|policy|policies|programming|principles)\b",
    re.IGNORECASE,
)  # fmt: skip


def refuses(text: str) -> bool:
    """Whether the writer says that it cannot, or will not, write the message."""
    return REFUSAL.search(text) is not None


# --- the prompt in the text

_NOUN = r"(?:message|text|letter|e-?mail|post|statement|paragraph|version|revision|rewrite|draft|example|response|answer|slogan|script|speech|ad|advertisement)"
LEAK = re.compile(
    r"\A\W{0,20}(?:(?:sure|certainly|of course|absolutely|okay|ok|great)\b[^.\n:]{0,40}[,.!:]+\s*)?here(?:['’]s| is| are) (?:\w[\w'’-]* ){0,9}?" + _NOUN + r"s?\b[^.!?]{0,120}:|"
    r"\bhere(?:['’]s| is) (?:an?|the|my|your|one|another)(?: [\w'’-]+){0,6} " + _NOUN + r"\b(?: (?:of|in) (?:about )?\d+ words| that (?:encourages|aims|is)| (?:encouraging|aimed|tailored|for (?:a|the|your)))|"
    r"\A\W{0,20}(?:sure|certainly|of course|absolutely)[,!.:]+ (?:here|I['’]?(?:d| would|m| am) (?:be )?(?:happy|glad) to|I['’]?(?:ll| will| can) (?:write|help|create|generate|draft))\b|"
    r"\b(?:generate|write|compose|create|draft|produce) an? (?:[\w'’-]+ ){0,4}(?:themed )?(?:message|paragraph|statement|text)\b|"
    r"\bthemed message\b|\bin (?:about |around |exactly |under )?\d+ words(?: or (?:less|fewer))?\b|\(\s*(?:word count:? ?)?\d+ words\s*\)|\bword count\b|"
    r"\bthis (?:message|text|statement|paragraph|revision|version) (?:aims|is (?:intended|designed|meant|aimed|tailored|written|addressed)|targets|encourages|emphasi[sz]es|highlights)\b|"
    r"\bthe above (?:question|prompt|instructions?|message|statement|request)\b|"
    r"\b(?:I|this) (?:hope|persuade) this (?:persuasive )?(?:message|statement) (?:persuades|helps|meets)\b|"
    r"^[^\w\n]{0,8}(?:(?:revised|rewritten|new|original|final|persuasive|sample|your|the) )*(?:message|text|prompt|instructions?|task|response|answer|output|input|user|assistant|system|subject|title|theme|audience|version|revision)(?: \d+)?:(?:\s|$)|"
    r"\blet me know if (?:you(?:['’]d| would)? (?:need|want|like)|there is)\b[^.!?]*\b(?:change|changes|revis|version|adjust|edit|else)",
    re.IGNORECASE | re.MULTILINE,
)  # fmt: skip
INSTRUCTION = frozenset("generate write compose message messages words themed encouraging encourages persuade text texts".split())  # noqa: SIM905


def _repeats_prompt(table: TextTable) -> np.ndarray:
    cells = {c: _runs(_plain(table.grid.prompt(c)), PROMPT_RUN) for c in np.unique(table.cell).tolist()}
    fragments = {
        run for said, *_ in Formatter().parse(table.grid.template) for run in _runs(_plain(said), 4) if INSTRUCTION & set(run)
    }  # fmt: skip
    return np.array(
        [
            LEAK.search(text) is not None
            or not cells[cell].isdisjoint(_runs(words := _plain(text), PROMPT_RUN))
            or not fragments.isdisjoint(_runs(words, 4))
            for text, cell in zip(table.texts, table.cell.tolist())
        ],
        bool,
    )


def _plain(text: str) -> list[str]:
    return [w.lower().replace("’", "'") for w in WORD.findall(text)]


def _runs(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


# --- loops and ends


def sentences(text: str) -> list[str]:
    """A plain division at . ! ? … and at ends of lines, but not after "U.S." and "p.m."; other abbreviations divide, which no check here
    minds.
    """
    return [s for part in SENTENCE_END.split(text) if (s := part.strip())]


def loops(text: str) -> bool:
    """A word four times in a row, a sentence three times, or more than a tenth of the words in sentences of 5 words or more, or a quarter
    in strings of 6 words, that were there before. One refrain in a long text is none.
    """
    words = _plain(text)
    if any(words[i] == words[i + 1] == words[i + 2] == words[i + 3] for i in range(len(words) - 3)):
        return True
    said = Counter(tuple(_plain(s)) for s in sentences(text))
    if any(n >= 3 and len(s) >= 2 for s, n in said.items()):
        return True
    if sum((n - 1) * len(s) for s, n in said.items() if len(s) >= 5) > 0.1 * len(words):
        return True
    seen: set[tuple[str, ...]] = set()
    again: set[int] = set()
    for i in range(len(words) - 5):
        run = tuple(words[i : i + 6])
        if run in seen:
            again.update(range(i, i + 6))
        seen.add(run)
    return len(again) > 0.25 * len(words)


ENDED = re.compile(r"[.!?。！？][\"'”’»)\]*_]*$")
ABBREVIATED = re.compile(r"(?:\b(?:dr|mr|mrs|ms|prof|st|vs|etc\.?,? and|e\.g|i\.e|approx|incl)\.|\.\.\.|…)[\"'”’)]*$", re.IGNORECASE)
TAIL = re.compile(r"#\w+|https?://.*|www\..*")  # hashtags and addresses
EMOJI = re.compile(r"[^\w\s!-/:-@\[-`{-~.!?…,;:\"'”’»)]")  # signs beside those that texts are punctuated by
SIGNED = re.compile(
    r"\b(?:sincerely|regards|best(?: wishes)?|yours(?: truly)?|warmly|cheers|gratefully)\s?,\s{1,3}[\w.'’-]+(?: [\w.'’-]+){0,5}$",
    re.IGNORECASE,
)
SIGNATURE = 100  # characters of the end that a signature may take


def is_cut(text: str) -> bool:
    """No end of a sentence at the end: hashtags, web addresses, emoji and a signature may follow it. An ellipsis at the end counts as cut
    off.
    """
    text = text.strip()
    if SIGNED.search(text[-SIGNATURE:]) or re.match(r"(?:https?://|www\.)", text.rsplit(None, 1)[-1] if text else ""):
        return False
    while text and (EMOJI.match(text[-1]) or TAIL.fullmatch(text.rsplit(None, 1)[-1][:200])):
        text = (text[:-1] if EMOJI.match(text[-1]) else text[: -len(text.rsplit(None, 1)[-1])]).rstrip()
    return ENDED.search(text[-SIGNATURE:]) is None or ABBREVIATED.search(text[-SIGNATURE:]) is not None


# --- languages

ENGLISH = (
    "the a an and or but of to in on at by for with from as is are was were be been it its this that these those you your we our they their he she his her "
    "not no will can may must should would could have has had do does so if when who what which all more than there into up out about just now us i my me"
)
OTHERS = {  # function words that are no English words
    "Spanish": "el los las una unos del que por para con su sus es son está están como más pero nuestra nuestro nuestros usted ustedes y muy también hay esto este esta en lo se de la al nos tu tus te ya cuando porque sin sobre hacer puede",
    "French": "le les une des du de la et est sont pour que qui dans sur avec pas plus vous votre vos nous notre nos ce cette ces au aux il elle ils en se leur mais ou où comme très être avoir faire peut chaque",
    "German": "der das und ist sind nicht ein eine einen einem einer für mit auf von zu den dem des im sich auch wir sie ihr ihre unsere unser euch aber oder wie wenn dass kann mehr zum zur bei nach haben werden wird",
    "Italian": "il gli una del della dei delle che per con non è sono di la le si anche come più nostro nostra vostra vostro tuo tua e ma questo questa nel nella al alla ai alle lo hanno essere può quando",
    "Portuguese": "os uma um do da dos das que para com não é são por mais sua seu seus nossa nosso você e em na nas nos ao como mas também isso este esta ou ele ela se muito pode ser quando",
    "Dutch": "het een en van de is zijn niet voor met op dat die te aan bij ook wij jij jouw onze maar naar om als wordt worden kan meer deze dit uw je heeft hebben uit door er",
}  # fmt: skip
_ENGLISH = frozenset(ENGLISH.split())
_OTHERS = {name: frozenset(words.split()) - _ENGLISH for name, words in OTHERS.items()}


def is_foreign(text: str) -> bool:
    """Another script, or another language in the whole or in a sentence of 8 words or more."""
    if not text.isascii():
        letters = [c for c in text if c.isalpha()]
        latin = sum(c < "ɐ" or "Ḁ" <= c <= "ỿ" for c in letters)  # up to Latin Extended-B, and Latin Extended Additional
        if len(letters) >= 20 and latin < LATIN_SHARE * len(letters):
            return True
    words = _plain(text)
    if len(words) >= UNDECIDED and (_is_other(words) or (len(words) >= 15 and sum(w in _ENGLISH for w in words) < 0.05 * len(words))):
        return True
    return any(len(said) >= 8 and _is_other(said) for said in map(_plain, sentences(text)))


def _is_other(words: Sequence[str]) -> bool:
    most = max(sum(w in known for w in words) for known in _OTHERS.values())
    return most >= 0.2 * len(words) and most > sum(w in _ENGLISH for w in words)


# --- what a generator left standing

PLACEHOLDER = re.compile(
    r"\{[A-Za-z_][^{}\n]{0,40}\}|"
    r"\[(?!(?:sic|and|the|a|an|is|are|in|of|to|it|we|he|she|they|INST|/INST)\])[A-Za-z][^\[\]\n]{0,60}\](?!\()|"
    r"<(?:(?:your|insert|the|first|last) )?(?:name|age|gender|region|city|town|date|link|url|phone|number|theme|company|address|state|time)>|"
    r"_{3,}|\bX{3,}\b|\b(?:insert|your) (?:name|link|date|city|number|address) here\b|\((?:your|insert) [a-z ]{2,20}\)",
    re.IGNORECASE,
)  # fmt: skip
MARKUP = re.compile(
    r"\*\*|__[A-Za-z]|(?<![\w*])\*\w[^*\n]{0,200}\*(?!\w)|^\s*#{1,6}\s|```|`[^`\n]+`|^\s*(?:[-*•▪–]|\d{1,2}[.)])\s+\S|^\s*\|.*\|\s*$|^\s*[-=*_]{3,}\s*$|"
    r"</?(?:[biups]|br|p|div|span|strong|em|h[1-6]|ul|ol|li|a|html|body|table|td|tr|script|font|center)\b[^<>\n]{0,200}>|<\|[^|\n]{1,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|"
    r"&(?:nbsp|amp|lt|gt|quot|#\d{1,6});|\]\(https?://|^\s*>\s|\\n|\\u[0-9a-fA-F]{4}",
    re.MULTILINE,
)  # fmt: skip


def has_placeholder(text: str) -> bool:
    """Something to be filled in: {age}, [Name], <city>, ____, XXX, (your name)."""
    return PLACEHOLDER.search(text) is not None


def has_markup(text: str) -> bool:
    """Markdown, HTML, lists, rules, escapes, or marks of chat templates."""
    return MARKUP.search(text) is not None


# --- what a text must be about


def _names_another(axis: Axis, texts: Sequence[str], value: np.ndarray) -> np.ndarray:
    """bool[n]. A word that two values share speaks for both; of words that overlap the longest counts ("south west" is no "west")."""
    of: dict[str, set[int]] = {}
    for v, words in enumerate(axis.words):
        for word in words:
            of.setdefault(" ".join(word.split()), set()).add(v)
    pattern = any_of(sorted(of))
    found = [[of[" ".join(m[0].lower().split())] for m in pattern.finditer(text)] for text in texts]
    return np.array([bool(named) and all(v not in values for values in named) for named, v in zip(found, value.tolist())], bool)
