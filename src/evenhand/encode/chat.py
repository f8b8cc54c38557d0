"""A prompt and a response, with or without the user's history → tokens for a language model: the one formatting of training, scoring and serving.

By the tokenizer's chat template where there is a prompt: the *prefix* is the template up to the assistant's turn, the response's *own*
tokens are the response and what the template closes it with. Prefix and own together are the tokens of `apply_chat_template`, except that
- the cut between the two never lies inside a token, so that chosen and rejected share a prefix,
- the name of a special token inside a text is written with a space after its first character ("< |im_end|>"): no text closes its turn,
- a template that writes today's date writes 26 Jul 2024: the same text has the same tokens tomorrow.

Without a template: prompt, empty line, response, between the tokenizer's own special tokens, and one end-of-text token if it has one.
Bidirectional encoders read the same: the prefix is attended to, pooling runs over the response's own tokens ([SEP] included).
An empty prompt gives the response alone, without any turn: the counterpart of a frozen encoder's features.

Over the limit, these go in this order, and are counted: the oldest of the user's earlier choices, the oldest turns (not a system turn), the
left of the prompt, the left of the system turn, the right of the response.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import numpy as np

from evenhand.core import EvenhandError
from evenhand.data.conversations import Turn, rendered, turns
from evenhand.encode.chunks import Tokens
from evenhand.encode.encoder import printable

DATE = "{%- macro strftime_now(format) %}26 Jul 2024{% endmacro %}"  # what Llama 3's template falls back to
ROLES = ("system", "user", "assistant")
SPOKEN = re.compile(r"(?:\A|\n\n)(system|user|assistant): ")
REASONING = {"<think>", "</think>"}  # templates look for them in a response: left as they are
GAP = "\n\n"
MEND = "To do: mend chat_template in the folder of the tokenizer, or take it out: texts are then read without turns."
CHOICES = "Earlier choices of this user, the oldest first:"
PERSONA = "About this user:"
PARTS = ("history", "turns", "prompt", "response")
AROUND = 8  # tokens around a turn: as many as ChatML's, Llama 3's and Gemma's templates write, and more; with those that write more, a turn may go too many
TOGETHER = 1024  # texts over the limit whose tokens' places are known at a time: Python's numbers for them take a hundred bytes a token


class Choice(NamedTuple):
    """One of the user's earlier pairs, as texts."""

    prompt: str
    chosen: str
    rejected: str


Told = str | Sequence[Choice]  # of a user: a persona in words, or earlier choices, the oldest first
Prompt = str | Sequence[Mapping[str, Any]]  # a text as `data` stores it, or messages with role and content
Spans = Mapping[str, Sequence[tuple[int, int]]]  # of texts: the characters of each token


@dataclass(frozen=True, eq=False)
class Formatted:
    """One text for the model, and how many tokens of which part the limit took away (absent: none)."""

    prefix: np.ndarray  # int32[p]: up to the assistant's turn; empty without a prompt
    own: np.ndarray  # int32[o]: the response and what closes it
    dropped: Mapping[str, int]  # part of PARTS -> tokens

    @property
    def tokens(self) -> Tokens:
        """As a backbone reads it."""
        return self.prefix.tolist(), self.own.tolist()


@dataclass(frozen=True)
class Cut:
    """What the limit did to the pairs of one group."""

    pairs: int
    cut: int  # pairs with a text that lost tokens
    same: int  # pairs that are the same tokens on both sides: no model tells them apart


@dataclass(frozen=True)
class _Draft:
    head: str  # what the user's history begins with
    told: tuple[str, ...]  # blocks of the history, the oldest first
    said: tuple[tuple[str, str], ...]  # (role, text): the conversation, its last turn the one to answer
    response: str


class _Frame(NamedTuple):
    """What a tokenizer and its template do around texts, found out once by trying."""

    template: str | None
    takes_system: bool
    surplus: int  # characters at the end of the generation prompt that an answered conversation does not repeat
    closing: tuple[str, ...]  # names of the tokens that end a response
    special: re.Pattern[str]
    lead: list[int]
    trail: list[int]


@dataclass(frozen=True)
class Chat:
    """The formatting of one model: its tokenizer (of transformers, fast) and the most tokens of a text."""

    tokenizer: Any
    max_tokens: int

    def tokens(self, prompts: Sequence[Prompt], responses: Sequence[str], told: Sequence[Told] | None = None) -> list[Formatted]:
        """One `Formatted` a response, in order; the prefix of texts with one prompt is one array. Equal prompts are tokenized once.

        told: what is known of the user of each text. It stands in a system turn before the prompt, and is part of the prefix.
        Raises EvenhandError for messages that are none, a template that refuses the conversation, and a limit that leaves no room.
        """
        asked = _distinct(prompts, lambda p: tuple(self._turns(p)))
        answers = _distinct(responses, lambda r: self._safe(_unclosed(r, self._frame.closing)))
        known = [("", ())] * len(responses) if told is None else _distinct(told, self._told)
        drafts = [_Draft(head, blocks, said, r) for (head, blocks), said, r in zip(known, asked, answers, strict=True)]
        parts = self._tokenized(drafts)
        dropped: list[dict[str, int]] = [{} for _ in drafts]
        over = [i for i, (prefix, own) in enumerate(parts) if len(prefix) + len(own) > self.max_tokens]
        while over:
            lengths = [len(parts[i][0]) + len(parts[i][1]) for i in over]
            shorter = []
            for at in range(0, len(over), TOGETHER):
                some = over[at : at + TOGETHER]
                spans = self._spans({text for i in some for text in _next_to_go(drafts[i])[1]})
                shorter += [self._shorter(drafts[i], length - self.max_tokens, spans) for i, length in zip(some, lengths[at:])]
            for i, length, (part, draft), new in zip(over, lengths, shorter, self._tokenized([d for _, d in shorter])):
                drafts[i], parts[i] = draft, new
                dropped[i][part] = dropped[i].get(part, 0) + length - len(new[0]) - len(new[1])
            over = [i for i in over if len(parts[i][0]) + len(parts[i][1]) > self.max_tokens]
        return [Formatted(prefix, own, lost) for (prefix, own), lost in zip(parts, dropped)]

    @property
    def template(self) -> str | None:
        """The chat template as it is applied, with today's date in it settled; None = the tokenizer has none."""
        return self._frame.template

    @property
    def ends(self) -> tuple[list[int], list[int]]:
        """The tokens before and behind a text that stands in no turn."""
        return self._frame.lead, self._frame.trail

    def words(self, text: str, count: int) -> np.ndarray:
        """So many tokens of the text, which is said again as often as need be, int32[count]."""
        return np.resize(np.array(self._ids([text])[0], dtype=np.int32), count)

    # What the tokenizer does

    @cached_property
    def _frame(self) -> _Frame:
        if not self.tokenizer.is_fast:
            raise EvenhandError(
                "The model's tokenizer has no fast form. Expected: one with a tokenizer.json, which says where its tokens stand in a text. To do: "
                "save it anew with save_pretrained of a fast tokenizer of transformers."
            )
        added = self.tokenizer.added_tokens_decoder.values()
        names = {str(t) for t in added if t.special} | set(self.tokenizer.all_special_tokens)
        plain, full = self._ids(["a"])[0], self.tokenizer("a", verbose=False)["input_ids"]
        at = next((i for i in range(len(full)) if full[i : i + len(plain)] == plain), 0)
        lead, trail = full[:at], full[at + len(plain) :]
        eos = self.tokenizer.eos_token_id
        trail = trail if eos is None or trail[-1:] == [eos] else [*trail, eos]
        ends = {self.tokenizer.eos_token} - {None}
        if not self.tokenizer.chat_template:
            return _Frame(None, False, 0, tuple(sorted(ends)), _any_of(names), lead, trail)
        template = self.tokenizer.get_chat_template()
        template = DATE + template if "strftime_now" in template else template
        said = [{"role": "user", "content": "Quaesitum"}]
        try:
            [open_], [whole] = self._applied(template, [said], False), self._applied(template, [[*said, _answer("Responsum")]], True)
            [thought] = self._applied(template, [[*said, _answer("<think>\nCogitatum\n</think>\n\nResponsum")]], True)
        except Exception as error:  # a template is a program of others and may raise anything
            raise EvenhandError(
                f"The model's chat template fails on one question and one answer ({type(error).__name__}). Expected: a template that writes any "
                f"conversation of user and assistant. {MEND}"
            ) from error
        before, found, after = whole.rpartition("Responsum")
        if not found or "Quaesitum" not in before:
            raise EvenhandError(
                f"The model's chat template leaves out what is said. Expected: a template that writes every turn's content. {MEND}"
            )
        surplus = len(open_) - self._cut(open_, [whole, thought], at_most=len(before))
        around = open_ + after
        names |= {str(t) for t in added if str(t) in around}  # some models mark the ends of turns as ordinary tokens
        ends |= {n for n in names if n and n in after}
        closing = tuple(sorted(ends))
        return _Frame(template, self._takes_system(template, said), surplus, closing, _any_of(names - REASONING), lead, trail)

    def _cut(self, opened: str, answered: Sequence[str], at_most: int) -> int:
        """The last place of the generation prompt up to which answered conversations are the same, outside of any token of theirs."""
        same = [sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(opened, whole))) for whole in answered]
        last = min(*same, at_most)
        wholes = self._ids(answered)
        for cut in range(last, max(last - 64, 0), -1):
            start = self._ids([opened[:cut]])[0]
            pairs = [(opened[:cut], whole[cut:]) for whole in answered]
            rest = self._after(pairs)
            if [[*start, *rest[pair]] for pair in pairs] == wholes:
                return cut
        return last

    @property
    def _template(self) -> str:
        return self._frame.template or ""

    def _takes_system(self, template: str, said: list[dict[str, str]]) -> bool:
        try:
            return "Mandatum" in self._applied(template, [[{"role": "system", "content": "Mandatum"}, *said]], False)[0]
        except Exception:
            return False  # the usual way of a template to say so

    def _applied(self, template: str, conversations: list[list[dict[str, str]]], answered: bool) -> list[str]:
        if not conversations:
            return []
        texts = self.tokenizer.apply_chat_template(
            conversations, chat_template=template, tokenize=False, add_generation_prompt=not answered, continue_final_message=False
        )
        return list(texts)

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens without any special one at the ends."""
        if not texts:
            return []
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)[
            "input_ids"
        ]
        return ids

    # From what was said to texts

    def _safe(self, text: str) -> str:
        """Without lone surrogates, and no part of it read as a special token."""
        special = self._frame.special
        text = printable(text)
        while special.search(text):
            text = special.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text)
        return text

    def _turns(self, prompt: Prompt) -> list[tuple[str, str]]:
        if isinstance(prompt, str):
            said = spoken(prompt)
        else:
            found = turns(list(prompt)) if prompt else []
            if found is None:
                raise EvenhandError(
                    "A prompt is no list of messages. Expected: messages with role and content, or a text. To do: give either of them."
                )
            said = found
        return [(t.role if t.role in ROLES else "user", self._safe(t.text)) for t in said if t.text is not None]

    def _told(self, told: Told) -> tuple[str, tuple[str, ...]]:
        if isinstance(told, str):
            return (PERSONA, (self._safe(told),)) if told.strip() else ("", ())
        blocks = [
            (f"Asked: {self._safe(c.prompt)}\n" if c.prompt else "") + f"Preferred: {self._safe(c.chosen)}\nOver: {self._safe(c.rejected)}"
            for c in told
        ]
        return (CHOICES, tuple(blocks)) if blocks else ("", ())

    # From texts to tokens

    def _tokenized(self, drafts: Sequence[_Draft]) -> list[tuple[np.ndarray, np.ndarray]]:
        before = {(d.head, d.told, d.said): "" for d in drafts}
        texts = [d.response for d in drafts]
        if self._frame.template:
            conversations = {key: _messages(*key, self._frame.takes_system) for key in before if key != ("", (), ())}
            before |= self._opened(conversations)
            asked = [i for i, d in enumerate(drafts) if (d.head, d.told, d.said) in conversations]
            keys = [(drafts[i].head, drafts[i].told, drafts[i].said) for i in asked]
            answered = self._written([[*conversations[k], _answer(drafts[i].response)] for k, i in zip(keys, asked)], True)
            for i, key, whole in zip(asked, keys, answered):
                if not whole.startswith(before[key]):
                    raise EvenhandError(
                        "The model's chat template writes a question differently once it is answered. Expected: the same start, since what "
                        f"stands before an answer must not depend on it. {MEND}"
                    )
                texts[i] = whole[len(before[key]) :]
        else:
            before = {key: _plain(*key) for key in before}
        starts = [before[d.head, d.told, d.said] for d in drafts]
        prefixes = self._prefixes(dict.fromkeys(starts))
        return [(prefixes[start], own) for start, own in zip(starts, self._owns(starts, texts))]

    def _opened(self, conversations: dict[Any, list[dict[str, str]]]) -> dict[Any, str]:
        """Each conversation as it stands before its answer. One that the template refuses is written with turns of user and assistant by turns."""
        try:
            opened = self._applied(self._template, list(conversations.values()), False)
            self._applied(self._template, [[*c, _answer("a")] for c in conversations.values() if c[-1]["role"] == "assistant"], True)
        except Exception:
            conversations |= {key: self._accepted(conversation) for key, conversation in conversations.items()}
            opened = self._written(list(conversations.values()), False)
        return {key: text[: len(text) - self._frame.surplus] for key, text in zip(conversations, opened)}

    def _accepted(self, conversation: list[dict[str, str]]) -> list[dict[str, str]]:
        try:
            self._applied(self._template, [[*conversation, _answer("a")]], True)
        except Exception:
            return _by_turns(conversation)
        return conversation

    def _written(self, conversations: list[list[dict[str, str]]], answered: bool) -> list[str]:
        try:
            return self._applied(self._template, conversations, answered)
        except Exception as error:
            raise EvenhandError(
                f"The model's chat template refuses a conversation of user and assistant ({type(error).__name__}). Expected: a template that "
                f"writes it. {MEND}"
            ) from error

    def _prefixes(self, texts: Iterable[str]) -> dict[str, np.ndarray]:
        texts = [t for t in texts if t]
        lead = [] if self._frame.template else self._frame.lead
        found = {text: np.array([*lead, *ids], dtype=np.int32) for text, ids in zip(texts, self._ids(texts))}
        return found | {"": np.empty(0, dtype=np.int32)}

    def _owns(self, starts: Sequence[str], texts: Sequence[str]) -> list[np.ndarray]:
        """Tokens of each text as they are after its start: what a tokenizer does at the beginning of a string does not happen in the middle.

        Only the end of the start is tokenized again.
        """
        ends = {start: self._end_of(start) for start in dict.fromkeys(starts)}
        found = {}
        for (end, text), ids in self._after(list(dict.fromkeys((ends[start], text) for start, text in zip(starts, texts)))).items():
            lead = [] if end else self._frame.lead
            trail = self._frame.trail if not (end and self._frame.template) else []
            all_ids = [*lead, *ids, *trail] or [self.tokenizer.eos_token_id or 0]  # something must stand for a text without any token
            found[end, text] = np.array(all_ids, dtype=np.int32)
        return [found[ends[start], text] for start, text in zip(starts, texts)]

    def _after(self, pairs: list[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
        """Tokens of the second text of each pair as it stands after the first; by itself where a token would reach over the cut."""
        befores = list(dict.fromkeys(before for before, _ in pairs))
        opening = dict(zip(befores, self._ids(befores)))
        found = dict(zip(pairs, self._ids([before + text for before, text in pairs])))
        apart = [pair for pair, ids in found.items() if ids[: len(opening[pair[0]])] != opening[pair[0]]]
        found = {pair: ids[len(opening[pair[0]]) :] for pair, ids in found.items()}
        return found | dict(zip(apart, self._ids([text for _, text in apart])))

    def _end_of(self, start: str) -> str:
        if not self._frame.template:
            return start[-len(GAP) :]
        last = max((m.start() for m in self._frame.special.finditer(start, max(0, len(start) - 64))), default=len(start) - 16)
        return start[max(last, 0) :]

    # Over the limit

    def _shorter(self, draft: _Draft, excess: int, spans: Spans) -> tuple[str, _Draft]:
        """The part of PARTS that is cut next, and what is left once about `excess` tokens of it are gone; no more than need be of what is cut
        in tokens, and of turns where the template writes up to AROUND tokens around one."""
        part, texts = _next_to_go(draft)
        if part == "history":
            left = draft.told[_oldest(texts, excess, spans) :]
            return part, replace(draft, told=left, head=draft.head if left else "")
        if part == "turns":
            first = len(draft.said) - 1 - len(texts)
            gone = first + _oldest(texts, excess, spans)
            while gone < len(draft.said) - 1 and draft.said[gone][0] != "user":
                gone += 1  # a conversation begins with its user
            return part, replace(draft, said=draft.said[:first] + draft.said[gone:])
        own = spans[texts[0]]
        if part == "prompt":
            at = max(at for at, (_, text) in enumerate(draft.said) if text)
            role, text = draft.said[at]
            text = text[max(own[excess][0], 1) :] if excess < len(own) else ""
            return part, replace(draft, said=(*draft.said[:at], (role, text), *draft.said[at + 1 :]))
        if excess >= len(own):
            raise EvenhandError(
                f"max_tokens is {self.max_tokens}: it leaves no room for a response beside what the model's template writes. Expected: room for one. "
                "To do: give more max_tokens, or a model with more positions."
            )
        return part, replace(draft, response=draft.response[: min(own[-excess - 1][1], len(draft.response) - 1)])

    def _spans(self, texts: Collection[str]) -> Spans:
        """Characters of each token of each text, all tokenized together: text by text takes several times as long."""
        asked = list(texts)
        read = self.tokenizer(asked, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False)
        return dict(zip(asked, read["offset_mapping"], strict=True))


def _next_to_go(draft: _Draft) -> tuple[str, Sequence[str]]:
    """The part of PARTS that is cut next, and the texts that it is made of; of a prompt its last turn that is not empty."""
    if draft.told:
        return "history", draft.told
    first = int(bool(draft.said) and draft.said[0][0] == "system")
    if len(draft.said) > first + 1:
        return "turns", [text for _, text in draft.said[first:-1]]
    said = [text for _, text in draft.said if text]
    return ("prompt", said[-1:]) if said else ("response", [draft.response])


def _oldest(texts: Sequence[str], excess: int, spans: Spans) -> int:
    """How many of the oldest texts must go, at the least, for `excess` tokens; all where they do not suffice."""
    sizes = np.cumsum([len(spans[text]) + AROUND for text in texts])
    return min(int(np.searchsorted(sizes, excess)) + 1, len(texts))


def spoken(prompt: str) -> list[Turn]:
    """The turns of a prompt that `data` stored as one text ("user: …", empty line, "assistant: …"); else the text as one turn of the user.

    The inverse of `rendered` where roles tell turns apart: it begins with a role, a system turn comes first, and no role speaks twice in a row.
    """
    marks = list(SPOKEN.finditer(prompt))
    roles = [m[1] for m in marks]
    whole = len(marks) > 1 and marks[0].start() == 0 and "system" not in roles[1:] and all(a != b for a, b in pairwise(roles))
    if not whole:
        return [Turn("user", prompt)] if prompt else []
    ends = [m.start() for m in marks[1:]] + [len(prompt)]
    return [Turn(m[1], prompt[m.end() : end]) for m, end in zip(marks, ends)]


def cuts(texts: Sequence[Formatted], chosen: np.ndarray, rejected: np.ndarray, group: Sequence[str]) -> dict[str, Cut]:
    """By group of the pairs, how many lost tokens, and how many are the same on both sides. chosen, rejected: int64[pairs] into texts."""
    lost = np.array([bool(t.dropped) for t in texts], dtype=bool)
    seen: dict[tuple[bytes, bytes], int] = {}
    kind = np.array([seen.setdefault((t.prefix.tobytes(), t.own.tobytes()), len(seen)) for t in texts], dtype=np.int64)
    cut = lost[chosen] | lost[rejected]
    same = kind[chosen] == kind[rejected]
    pairs, of_cut, of_same = Counter(group), Counter(), Counter()  # type: Counter[str], Counter[str], Counter[str]
    for name, is_cut, is_same in zip(group, cut, same, strict=True):
        of_cut[name] += bool(is_cut)
        of_same[name] += bool(is_same)
    return {name: Cut(n, of_cut[name], of_same[name]) for name, n in sorted(pairs.items())}


def _distinct(items: Sequence[Any], make: Any) -> list[Any]:
    """make(item) of each item, worked out once for equal ones."""
    keys = [item if isinstance(item, str) else repr(item) for item in items]
    made = {key: make(item) for key, item in dict(zip(keys, items)).items()}
    return [made[key] for key in keys]


def _any_of(names: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted((n for n in names if len(n) > 1), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _unclosed(text: str, names: Sequence[str]) -> str:
    """Without the names at its end, and the white space behind each. No pattern: tried from every name of a long run, it takes the run's square."""
    end = at = len(text)
    while True:
        while at and text[at - 1].isspace():
            at -= 1
        name = next((name for name in names if text.endswith(name, 0, at)), "")
        if not name:
            return text[:end]
        end = at = at - len(name)


def _answer(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def _history(head: str, told: tuple[str, ...]) -> str:
    return GAP.join([head, *told]) if told else ""


def _plain(head: str, told: tuple[str, ...], said: tuple[tuple[str, str], ...]) -> str:
    """Everything before the response as a text that ends with an empty line; "" where there is nothing."""
    parts = [_history(head, told), rendered([Turn(role, text) for role, text in said])]
    return "".join(part + GAP for part in parts if part)


def _messages(head: str, told: tuple[str, ...], said: tuple[tuple[str, str], ...], takes_system: bool) -> list[dict[str, str]]:
    """The conversation as messages. The user's history ends the system turn, which is there for it if need be; or begins the first turn."""
    known = _history(head, told)
    system = said[0][1] if said and said[0][0] == "system" else ""
    rest = said[1:] if system else said
    first = GAP.join(part for part in (system, known) if part)
    messages = [{"role": role, "content": text} for role, text in rest]
    if not first:
        return messages
    if takes_system and messages:
        return [{"role": "system", "content": first}, *messages]
    return _with_start(first, messages)


def _with_start(text: str, messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The text at the beginning of the first turn if that is the user's, else as a turn of the user before it."""
    if messages and messages[0]["role"] == "user":
        return [{"role": "user", "content": text + GAP + messages[0]["content"]}, *messages[1:]]
    return [{"role": "user", "content": text}, *messages]


def _by_turns(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same words with user and assistant by turns, as strict templates want it: the user first and last, no system."""
    if messages[0]["role"] == "system":
        messages = _with_start(messages[0]["content"], messages[1:])
    turns_: list[dict[str, str]] = [{"role": "user", "content": ""}] if messages[0]["role"] == "assistant" else []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if turns_ and turns_[-1]["role"] == role:
            turns_[-1] = {"role": role, "content": turns_[-1]["content"] + GAP + message["content"]}
        else:
            turns_.append({"role": role, "content": message["content"]})
    return turns_ if turns_[-1]["role"] == "user" else [*turns_, {"role": "user", "content": ""}]
