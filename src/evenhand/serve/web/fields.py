"""What the server is sent and what it answers, field by field: checked here before anything else sees it, and written into /openapi.json."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema, model_validator

MOST_ITEMS = 256  # of a request, and pairs of a history in it

MESSAGE = {
    "type": "object",
    "properties": {"role": {"type": "string"}, "content": {"type": "string"}},
    "required": ["role", "content"],
    "description": "One turn. Parts of its content that are no text are left out.",
}
Message = Annotated[dict[str, Any], WithJsonSchema(MESSAGE)]  # read by `data.conversations` alone, as everywhere
Conversation = Annotated[list[Message], Field(min_length=1)]
Said = str | Conversation
UserKey = Annotated[str, Field(min_length=1, max_length=1000)]


class Fields(BaseModel):
    """No conversion, no unknown field: what is not understood is refused, never passed over."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Choice(Fields):
    """An earlier choice of a user."""

    prompt: Said = ""
    chosen: Said
    rejected: Said


class ClassifyTexts(Fields):
    """vLLM's /classify with texts."""

    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_ITEMS)] = Field(
        description="One text or several, each a conversation as a chat template writes it, or a response alone."
    )
    model: str | None = Field(None, description="Read by nobody: this server has one model.")
    user: UserKey | None = Field(None, description="Key of a history that the server was started with; left out: the reward for everybody.")
    use_activation: bool | None = Field(None, description="false: `probs` holds the reward itself; else its logistic function, as in vLLM.")


class ClassifyMessages(Fields):
    """vLLM's /classify with messages: one conversation, whose last turn is the response."""

    messages: Conversation
    model: str | None = None
    user: UserKey | None = None
    use_activation: bool | None = None


class GetReward(Fields):
    """OpenRLHF's remote reward: as many of each as there are samples."""

    query: Annotated[list[str], Field(min_length=1, max_length=MOST_ITEMS, description="Prompt and response, as decoded.")]
    prompts: Annotated[list[str], Field(max_length=MOST_ITEMS, description="The prompts with which the queries begin.")]
    labels: Annotated[list[Any], Field(max_length=MOST_ITEMS)] = Field(
        default_factory=list,
        description="Keys of histories that the server was started with; null or '': the reward for everybody. Without histories they are not read.",
    )


class For(Fields):
    """Whose rewards: `user`, `users` or `history`, or none of them for the reward for everybody."""

    user: UserKey | None = Field(None, description="Key of a history that the server was started with.")
    users: Annotated[list[UserKey | None], Field(max_length=MOST_ITEMS)] | None = Field(
        None, description="The same for each response; null: the reward for everybody."
    )
    history: Annotated[list[Choice], Field(max_length=MOST_ITEMS)] | None = Field(None, description="A user's earlier choices themselves.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(given is not None for given in (self.user, self.users, self.history)) > 1:
            raise ValueError("one of user, users and history is expected")
        return self


class ScoreTexts(For):
    """Responses, each with its prompt; a text or messages each."""

    responses: Annotated[list[Said], Field(min_length=1, max_length=MOST_ITEMS)]
    prompts: Annotated[list[Said], Field(max_length=MOST_ITEMS)] | None = Field(
        None, description="One for each response; left out: there are none."
    )


class ScoreMessages(For):
    """Conversations whose last turn is the response."""

    messages: Annotated[list[Conversation], Field(min_length=1, max_length=MOST_ITEMS)]


KINDS = ("texts", "messages")


def _kind(value: Any) -> str:
    return KINDS[isinstance(value, dict) and "messages" in value]


Classify = Annotated[Annotated[ClassifyTexts, Tag(KINDS[0])] | Annotated[ClassifyMessages, Tag(KINDS[1])], Discriminator(_kind)]
Score = Annotated[Annotated[ScoreTexts, Tag(KINDS[0])] | Annotated[ScoreMessages, Tag(KINDS[1])], Discriminator(_kind)]


class Bound(BaseModel):
    """What binds a reply to a model."""

    model: str = Field(description="Name of the model's folder.")
    fingerprint: str = Field(description="SHA-256 of everything that decides a reward.")


class Label(BaseModel):
    index: int
    label: Literal["LABEL_0"] = "LABEL_0"
    probs: list[float]
    num_classes: Literal[1] = 1


class Usage(BaseModel):
    prompt_tokens: int
    total_tokens: int
    completion_tokens: Literal[0] = 0


class Classified(Bound):
    id: str
    object: Literal["list"] = "list"
    created: int
    data: list[Label]
    usage: Usage


class Rewarded(Bound):
    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class Scored(Bound):
    rewards: list[float | None] = Field(description="null: the response holds no text, so that there is nothing to judge.")
    reads_prompts: bool = Field(description="false: a response has the same reward under every prompt.")
    cut: list[int] = Field(description="Places of responses that are longer than the model reads, with their prompts.")
    usage: Usage


class Healthy(BaseModel):
    status: Literal["ok"] = "ok"


class Problem(BaseModel):
    error: str = Field(description="What was found, what was expected, what to do. Texts and ids that were sent are never in it.")
