"""What is encoded for a response: it alone, or with the prompt that it answers, or also with what is told of the user. The one place that puts them together."""

from __future__ import annotations

from evenhand.encode.chat import Told


class Prompted(str):
    """Prompt and response as one text, for encoders that read nothing else, which still knows the two: a chat template wants them apart.

    told: what a language model reads of the user before the prompt, earlier choices or a text; () = nothing. It is no part of the text
    itself: of one pair it is the same on both sides.
    """

    __slots__ = ("prompt", "response", "told")

    prompt: str
    response: str
    told: Told

    def __new__(cls, prompt: str, response: str, told: Told = ()) -> Prompted:
        text = super().__new__(cls, f"{prompt}\n\n{response}" if prompt or not told else response)
        text.prompt, text.response, text.told = prompt, response, told
        return text

    def __reduce__(self) -> tuple[type[Prompted], tuple[str, str, Told]]:
        """For copies and other processes."""
        return Prompted, (self.prompt, self.response, self.told)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prompted) and (self.prompt, self.response, self.told) == (other.prompt, other.response, other.told)

    def __hash__(self) -> int:
        return hash((self.prompt, self.response, self.told))


def item_text(prompt: str, response: str, with_prompt: bool, told: Told = ()) -> str:
    """The text that is encoded for a response; alone by default (docs/encoders.md, "What a model reads")."""
    return Prompted(prompt if with_prompt else "", response, told) if with_prompt or told else response


def apart(text: str) -> tuple[str, str, Told]:
    """(prompt, response, what is told of the user); without a prompt, the prompt is empty."""
    return (text.prompt, text.response, text.told) if isinstance(text, Prompted) else ("", text, ())
