"""What is encoded for a response: it alone, or with the prompt that it answers. The one place that puts the two together."""

from __future__ import annotations


class Prompted(str):
    """Prompt and response as one text, for encoders that read nothing else, which still knows the two: a chat template wants them apart."""

    __slots__ = ("prompt", "response")

    prompt: str
    response: str

    def __new__(cls, prompt: str, response: str) -> Prompted:
        text = super().__new__(cls, f"{prompt}\n\n{response}")
        text.prompt, text.response = prompt, response
        return text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Prompted) and (self.prompt, self.response) == (other.prompt, other.response)

    def __hash__(self) -> int:
        return hash((self.prompt, self.response))


def item_text(prompt: str, response: str, with_prompt: bool) -> str:
    """The text that is encoded for a response; alone by default (docs/encoders.md, "What a model reads")."""
    return Prompted(prompt, response) if with_prompt else response


def apart(text: str) -> tuple[str, str]:
    """(prompt, response); without a prompt, the prompt is empty."""
    return (text.prompt, text.response) if isinstance(text, Prompted) else ("", text)
