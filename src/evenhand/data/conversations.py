"""What people call a conversation → turns; and a pair of conversations → the prompt that both share and what is left of each.

A conversation is a list of messages (role and content, or from and value), such a list in a cell (`written`), or a text with turn markers
("\\n\\nHuman: … \\n\\nAssistant: …", "<|user|> …", ChatML). The prompt ends at the last turn that both share, never inside a turn; the last
turn of either is always part of the response. Turns and parts without text (tool calls, images) are left out and counted. A
conversation that ends with a turn of the user has no response: it is never scored or trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from evenhand.data.rows import Fault
from evenhand.data.written import decoded, is_written

LIST = (list, tuple)
ROLES = {"human": "user", "prompter": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant", "ai": "assistant"}
NAMES = r"human|prompter|user|assistant|bot|ai|system"
MARKER = re.compile(
    rf"(?:\A\s*|\n[^\S\n]*)(?:({NAMES}):[ \t]*)|<\|im_start\|>\s*(\w+)\s*|<\|({NAMES})\|>\s*|<\|start_header_id\|>(\w+)<\|end_header_id\|>\s*",
    re.I,
)
CLOSING = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "</s>")

NO_TEXT = Fault("a response holds no text (tool calls or images alone)", "a text in both responses", set_aside=True)
UNANSWERED = Fault(
    "a conversation ends with a turn of the user or the system, which is no response", "the response as its last turn",
    "leave that turn out, or mend its role",
)  # fmt: skip
UNANSWERED_PAIR = replace(UNANSWERED, set_aside=True)
SILENT = Fault("the response holds no text (tool calls or images alone)", "a response with text", "leave it out, or bring its text")
ASKING = ("user", "system", "developer")  # roles whose turn is no response
SAME_TEXT = Fault("the responses differ in tool calls or images alone", "two different texts", set_aside=True)


@dataclass(frozen=True)
class Turn:
    role: str
    text: str | None  # None: nothing in it is text
    rest: Any = None  # what is no text, so that turns can be told apart by it


@dataclass(frozen=True)
class Pair:
    """Three texts, or what they were where they are none: the checks find it."""

    prompt: Any
    chosen: Any
    rejected: Any
    fault: Fault | None = None
    left_out: int = 0  # turns with parts that are no text


def is_marked(value: object) -> bool:
    """A text that begins with a turn marker, or a list of messages in a cell."""
    return isinstance(value, str) and (MARKER.match(value) is not None or is_written(value))


def turns(value: Any) -> list[Turn] | None:
    """The turns of a conversation; None when it is none: a plain text, or something broken."""
    if isinstance(value, str):
        if MARKER.match(value):
            return _marked(value)
        value = decoded(value)
    value = [value] if isinstance(value, Mapping) and "from" in value else value  # one message alone
    if not isinstance(value, LIST) or not value:
        return None
    parsed = [_turn(m) if isinstance(m, Mapping) else None for m in value]
    whole = [t for t in parsed if t is not None]
    return whole if len(whole) == len(parsed) else None


def closed(text: str) -> str:
    """Without the marks and white space at its end. No pattern: tried from every place of a long run of spaces, it takes the run's square."""
    end, before = len(text), -1
    while end != before:
        before = end
        while end and text[end - 1].isspace():
            end -= 1
        end -= next((len(mark) for mark in CLOSING if text.endswith(mark, 0, end)), 0)
    return text[:end]


def _marked(text: str) -> list[Turn]:
    marks = list(MARKER.finditer(text))
    ends = [m.start() for m in marks[1:]] + [len(text)]
    sections = [(next(g for g in m.groups() if g).lower(), closed(text[m.end() : end])) for m, end in zip(marks, ends)]
    said = [Turn(ROLES.get(role, role), words.strip()) for role, words in sections]
    return said[:-1] if len(said) > 1 and not said[-1].text else said  # "Assistant:" with nothing after it asks for an answer


def _turn(message: Mapping[str, Any]) -> Turn | None:
    if len(message) == 2 and type(message.get("content")) is str and type(message.get("role")) is str:  # nearly all of them
        return Turn(ROLES.get(message["role"].lower(), message["role"]), message["content"])
    role = message.get("role", message.get("from"))
    has_calls = any(message.get(k) for k in ("tool_calls", "function_call"))
    if not isinstance(role, str) or not (has_calls or "content" in message or "value" in message):
        return None
    content = message.get("content", message.get("value"))
    role = ROLES.get(role.lower(), role)
    if content is None or (content == "" and has_calls):
        return Turn(role, None, {k: v for k, v in message.items() if v is not None})
    if isinstance(content, str):
        return Turn(role, content, message.get("tool_calls") or None)
    if not isinstance(content, Sequence):
        return None
    texts = [str(p["text"]) for p in content if isinstance(p, Mapping) and isinstance(p.get("text"), str)]
    others = [p for p in content if not (isinstance(p, Mapping) and isinstance(p.get("text"), str))]
    if not all(isinstance(p, Mapping) and isinstance(p.get("type"), str) and p["type"] != "text" for p in others):
        return None
    return Turn(role, "".join(texts) if texts else None, others or None)


def rendered(said: Sequence[Turn]) -> str:
    """One text: a single turn's own, several as "role: text" with an empty line between."""
    spoken = [(t.role, t.text) for t in said if t.text is not None]
    return spoken[0][1] if len(spoken) == 1 else "\n\n".join(f"{role}: {text}" for role, text in spoken)


def as_text(value: Any) -> Any:
    """Messages, or a list of one text, as one text; anything else as it is."""
    if isinstance(value, str) and MARKER.match(value):
        return value
    if isinstance(value, LIST) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    said = turns(value)
    return value if said is None else rendered(said)


def split(prompt: Any, chosen: Any, rejected: Any, explicit: bool) -> Pair:
    """The pair behind three values. explicit: `prompt` was given; else it is what both conversations share from the start."""
    ours, theirs = turns(chosen), turns(rejected)
    opening = _asked(prompt) if explicit else []
    if isinstance(prompt, str) and MARKER.match(prompt):  # what follows a marker begins after its white space
        chosen, rejected = (closed(v).strip() if isinstance(v, str) else v for v in (chosen, rejected))
    if prompt and not opening and not isinstance(prompt, str):  # no conversation at all: the checks find it
        return Pair(prompt, as_text(chosen), as_text(rejected))
    left_out = sum(t.rest is not None for said in (opening, ours or (), theirs or ()) for t in said)
    if ours is None or theirs is None:
        if explicit:
            return Pair(rendered(opening) if opening else as_text(prompt), as_text(chosen), as_text(rejected), left_out=left_out)
        return _plain(as_text(chosen), as_text(rejected))
    most = max(min(len(ours), len(theirs)) - 1, 0)
    shared = next((i for i in range(most) if ours[i] != theirs[i]), most)
    before = ours[:shared]
    before = before if _holds(before, opening) else [*opening, *before]
    rest = ours[shared:], theirs[shared:]
    fault = None
    if _asks(ours[-1]) or _asks(theirs[-1]):
        fault = UNANSWERED_PAIR
    elif not all(map(_speaks, rest)) and left_out:
        fault = NO_TEXT
    elif rest[0] != rest[1] and rendered(rest[0]) == rendered(rest[1]):
        fault = SAME_TEXT
    return Pair(rendered(before), rendered(rest[0]), rendered(rest[1]), fault, left_out)


class Answered(NamedTuple):
    """A prompt and its response as texts; what is no text is what was given. fault: UNANSWERED, or SILENT, which has no text."""

    prompt: Any
    response: Any
    fault: Fault | None = None


def answered(prompt: Any, response: Any) -> Answered:
    """Prompt and response as the texts that `split` makes of them in a pair; what is no text comes back as it is: the checks find it.

    Each may be a text or messages. A response that repeats the prompt's turns is what follows them. Without a prompt, a conversation's last turn is
    the response, and what stands before it the prompt.
    """
    opening = _asked(prompt)
    ours = turns(response) if not isinstance(response, str) or (not opening and is_marked(response)) else None
    if ours is None:
        if isinstance(prompt, str) and MARKER.match(prompt) and isinstance(response, str):
            response = closed(response).strip()
        return Answered(rendered(opening) if opening or not prompt else as_text(prompt), as_text(response))
    before, said = ours[:-1], ours[-1:]
    if opening:
        place = _place(ours[:-1], opening)
        end = 0 if place < 0 else place + len(opening)
        before, said = ours[:end] or opening, ours[end:]
    if _asks(ours[-1]):
        return Answered(rendered(before), rendered(said), UNANSWERED)
    if not _speaks(said) and any(turn.rest is not None for turn in said):
        return Answered(rendered(before), "", SILENT)
    return Answered(rendered(before), rendered(said))


def _asks(turn: Turn) -> bool:
    return turn.role.lower() in ASKING


def _speaks(said: Sequence[Turn]) -> bool:
    """Whether a response holds text of its own: a user's turn before a tool call is none."""
    last = next((turn for turn in reversed(said) if turn.text and turn.text.strip()), None)
    return last is not None and not _asks(last)


def broken(value: Any) -> str:
    """Why a value is neither a text nor messages: "it is of type int", "message 2 has no role"."""
    if isinstance(value, LIST) and not value:
        return "the list of messages is empty"
    if not isinstance(value, LIST):
        return f"it is of type {type(value).__name__}"
    return next((f"message {i} {why}" for i, message in enumerate(value) if (why := _broken(message))), "")


def _broken(message: Any) -> str:
    if not isinstance(message, Mapping):
        return f"is of type {type(message).__name__}"
    role, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
    if role is None:
        return "has no role"
    if not isinstance(role, str):
        return f"has a role of type {type(role).__name__}"
    if _turn(message) is not None:
        return ""
    if content is None:
        return "has no content"
    if not isinstance(content, LIST):
        return f"has content of type {type(content).__name__}"
    return "has a part in its content that is neither a text nor of another type than text"


def _asked(prompt: Any) -> list[Turn]:
    prompt = prompt[0] if isinstance(prompt, LIST) and len(prompt) == 1 and isinstance(prompt[0], str) else prompt
    prompt = prompt.get("messages", prompt) if isinstance(prompt, Mapping) else prompt
    said = turns(prompt)
    return said if said is not None else [Turn("user", prompt)] if isinstance(prompt, str) and prompt else []


def _holds(said: Sequence[Turn], opening: Sequence[Turn]) -> bool:
    """The conversation repeats the prompt."""
    return _place(said, opening) >= 0


def _place(said: Sequence[Turn], opening: Sequence[Turn]) -> int:
    """Where the turns of `opening` stand in `said`, for the first time; -1 = nowhere. Linear in turns, however they repeat (Knuth, Morris
    and Pratt): a body holds ten thousands of them.
    """
    whole, part = ([(turn.text or "").strip() for turn in turns_] for turns_ in (said, opening))
    if not part:
        return 0
    again = [0] * len(part)  # of each start of `part`: how much of its end is a start of it, too
    length = 0
    for i in range(1, len(part)):
        while length and part[i] != part[length]:
            length = again[length - 1]
        length += part[i] == part[length]
        again[i] = length
    length = 0
    for i, text in enumerate(whole):
        while length and text != part[length]:
            length = again[length - 1]
        length += text == part[length]
        if length == len(part):
            return i + 1 - length
    return -1


def _plain(chosen: Any, rejected: Any) -> Pair:
    """Texts without turns: the prompt is the shared start up to its last white space; something of the shorter is left."""
    if not (isinstance(chosen, str) and isinstance(rejected, str)) or chosen == rejected:
        return Pair("", chosen, rejected)
    same = next((i for i, (a, b) in enumerate(zip(chosen, rejected)) if a != b), min(len(chosen), len(rejected)))
    space = chosen[:same].rstrip() if same in (len(chosen), len(rejected)) else chosen[:same]
    cut = max((i + 1 for i, c in enumerate(space) if c.isspace()), default=0)
    return Pair(chosen[:cut].rstrip(), chosen[cut:], rejected[cut:])
