"""A reward model that knows its users: (conversation, user) → reward. Written by `evenhand export`; it needs torch and transformers, nothing else.

    v     pooled last hidden states of a language model: of the response alone, of everything, or of the last token
    phi   = W v + b
    r     = f(phi, state of the user)

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
    texts = tokenizer.apply_chat_template(conversations, return_dict=True, return_tensors="pt", padding=True, return_assistant_tokens_mask=True)
    rewards = model(**texts, user=["everybody"] * len(conversations)).logits[:, 0]  # or one user for all; none: config.default_user

Rewards are raw numbers: only differences between responses to one prompt mean something. Features and head compute in float32, whatever the
language model computes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class EvenhandConfig(PreTrainedConfig):
    """backbone: the language model's own config. pooling: "mean" or "last". over: what a mean runs over, "response" or "text".

    response_after: token ids that end what stands before a response; the last place where they stand is where it begins. [] = not known from
    the tokens. masked: forward then needs `assistant_masks`. unit: vectors are brought to length 1. window: tokens of a text, without the two at
    its ends, that are read at once; a longer one is read in windows of near-equal size. 0 = texts are read whole.
    head: its class below. sizes: its arguments. user_names: of its states, in order. default_user: one of them.
    """

    model_type = "evenhand"

    def __init__(
        self,
        backbone: dict[str, Any] | None = None,
        pooling: str = "mean",
        over: str = "response",
        response_after: Sequence[int] = (),
        masked: bool = False,
        unit: bool = False,
        window: int = 0,
        head: str = "affine",
        sizes: dict[str, int] | None = None,
        user_names: Sequence[str] = ("everybody",),
        default_user: str = "everybody",
        **more: Any,
    ):
        self.backbone = backbone
        self.pooling, self.over, self.response_after, self.masked = pooling, over, list(response_after), masked
        self.unit, self.window = unit, window
        self.head, self.sizes, self.user_names, self.default_user = head, sizes, list(user_names), default_user
        super().__init__(**more)


class Affine(nn.Module):
    """a_u . phi + c_u"""

    def __init__(self, users: int, features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(users, features))
        self.bias = nn.Parameter(torch.zeros(users))

    def forward(self, phi: Tensor, user: Tensor) -> Tensor:
        return (phi * self.weight[user]).sum(1) + self.bias[user]


class Placed(nn.Module):
    """F phi, or F gelu(G phi)"""

    def __init__(self, users: int, features: int, width: int, rank: int):
        super().__init__()
        self.state = nn.Parameter(torch.zeros(users, rank))
        self.hidden = nn.Linear(features, width) if width else None
        self.place = nn.Linear(width or features, rank, bias=False)

    def at(self, phi: Tensor) -> Tensor:
        return self.place(phi if self.hidden is None else nn.functional.gelu(self.hidden(phi)))


class Distance(Placed):
    """-||F phi - a_u||^2"""

    def forward(self, phi: Tensor, user: Tensor) -> Tensor:
        return -(self.at(phi) - self.state[user]).square().sum(1)


class Angle(Placed):
    """<F phi / ||F phi||, a_u>"""

    def forward(self, phi: Tensor, user: Tensor) -> Tensor:
        return (nn.functional.normalize(self.at(phi), dim=1) * self.state[user]).sum(1)


class Perceptron(nn.Module):
    """w . relu(D relu(C phi + z_u) + d)"""

    def __init__(self, users: int, features: int, width: int):
        super().__init__()
        self.state = nn.Parameter(torch.zeros(users, width))
        self.first = nn.Linear(features, width, bias=False)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, 1, bias=False)

    def forward(self, phi: Tensor, user: Tensor) -> Tensor:
        return self.last(torch.relu(self.second(torch.relu(self.first(phi) + self.state[user]))))[:, 0]


HEADS = {"affine": Affine, "distance": Distance, "angle": Angle, "perceptron": Perceptron}


class EvenhandForSequenceClassification(PreTrainedModel):
    config_class = EvenhandConfig
    base_model_prefix = "backbone"
    _keep_in_fp32_modules_strict = ["reward_features", "reward_head"]  # noqa: RUF012

    def __init__(self, config: EvenhandConfig):
        super().__init__(config)
        assert config.backbone is not None
        assert config.sizes is not None
        inner = AutoConfig.for_model(**config.backbone)
        self.backbone = AutoModel.from_config(inner, dtype=config.dtype or torch.float32)  # the one asked for, not the backbone's own
        self.reward_features = nn.Linear(inner.get_text_config().hidden_size, config.sizes["features"])
        self.reward_head = HEADS[config.head](**config.sizes)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        assistant_masks: Tensor | None = None,
        user: str | Sequence[str] | None = None,
        token_type_ids: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> SequenceClassifierOutput:
        """logits float32[n, 1]: rewards of texts for a user, or one user for each. token_type_ids is not read.

        Raises ValueError for a user that the folder does not hold, and where `assistant_masks` is needed and missing.
        """
        seen = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        pooled = self._windows(input_ids, seen) if self.config.window else self._pooled(input_ids, seen, assistant_masks)
        if self.config.unit:
            pooled = nn.functional.normalize(pooled, dim=1)
        with torch.autocast(pooled.device.type, enabled=False):
            rewards = self.reward_head(self.reward_features(pooled), self._users(user, len(input_ids)))
        return SequenceClassifierOutput(logits=rewards[:, None])

    def _users(self, user: str | Sequence[str] | None, n: int) -> Tensor:
        names = [user or self.config.default_user] * n if user is None or isinstance(user, str) else list(user)
        place = {name: i for i, name in enumerate(self.config.user_names)}
        if len(names) != n or not all(name in place for name in names):
            raise ValueError(f"user: give one of config.user_names ({len(place)} of them), or one for each of the {n} texts")
        return torch.tensor([place[name] for name in names], device=self.device)

    def _states(self, ids: Tensor, seen: Tensor) -> Tensor:
        return self.backbone(input_ids=ids, attention_mask=seen).last_hidden_state.float()

    def _pooled(self, ids: Tensor, seen: Tensor, assistant_masks: Tensor | None) -> Tensor:
        states, steps = self._states(ids, seen), torch.arange(ids.shape[1], device=ids.device)
        if self.config.pooling == "last":
            return states[torch.arange(len(ids), device=ids.device), (steps * seen).argmax(1)]
        own = seen.bool()
        if self.config.over == "response":
            own = own & self._response(ids, steps, assistant_masks)
        weight = own.float() / own.sum(1, keepdim=True).clamp_min(1)
        return torch.bmm(weight[:, None], states)[:, 0]

    def _response(self, ids: Tensor, steps: Tensor, assistant_masks: Tensor | None) -> Tensor:
        """bool[n, T]: the last response and what closes it."""
        after = torch.tensor(self.config.response_after, device=ids.device)
        if len(after) and ids.shape[1] >= len(after):
            hits = (ids.unfold(1, len(after), 1) == after).all(2)
            last = (hits * (1 + torch.arange(hits.shape[1], device=ids.device))).amax(1) - 1
            return steps >= torch.where(last < 0, 0, last + len(after))[:, None]
        if self.config.masked:
            if assistant_masks is None:
                raise ValueError(
                    "assistant_masks is missing: call tokenizer.apply_chat_template(..., return_dict=True, return_assistant_tokens_mask=True)"
                )
            return assistant_masks.to(ids.device).bool()
        return torch.ones_like(ids).bool()

    def _windows(self, ids: Tensor, seen: Tensor) -> Tensor:
        """Mean over all tokens of all windows of each text, each window between the text's first and last token."""
        windows, owner = [], []
        for number, (row, mask) in enumerate(zip(ids, seen.bool())):
            text = row[mask]
            inside = text[1:-1]
            count = max(1, -(-len(inside) // self.config.window))
            edges = [len(inside) * i // count for i in range(count + 1)]
            windows += [torch.cat([text[:1], inside[a:b], text[-1:]]) for a, b in pairwise(edges)]
            owner += [number] * count
        read = nn.utils.rnn.pad_sequence([torch.ones_like(window) for window in windows], batch_first=True)
        states = self._states(nn.utils.rnn.pad_sequence(windows, batch_first=True), read)
        sums = torch.bmm(read[:, None].float(), states)[:, 0]
        place = torch.tensor(owner, device=ids.device)
        total = sums.new_zeros(len(ids), sums.shape[1]).index_add(0, place, sums)
        return total / sums.new_zeros(len(ids)).index_add(0, place, read.sum(1).float())[:, None]
