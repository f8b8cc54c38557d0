"""P-RLHF's training rule: every pair is learned as its user's and as anybody's (Li et al. 2024, arXiv 2402.05133).

    L = (1 - g) L_BT(margin under the user) + g L_BT(margin under the generic user),        g = 1/2

The generic user is one about whom nothing is known: no history, no number. What the model says to strangers is thus trained on
everybody's pairs instead of being what is left over. It goes with the paper's user models, `--head p_rlhf` (individual) and
`--head p_rlhf_cluster`, and with any other head: then it is personalised Bradley-Terry that keeps its generic reward good.

Differs from the paper: frozen features and a linear reward instead of a fine-tuned language model. Validation, which picks the epoch,
looks at the user's margin alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from evenhand.core import EvenhandError, History, Method, Pairs, TrainableScorer
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.loop import train_model
from evenhand.training.scoring import bt, mean_over_users
from evenhand.training.traces import Fitted
from evenhand.training.tuned import with_head


@dataclass(frozen=True)
class PRlhfMethod(Method):
    """base: head and schedule. generic in [0, 1]: share of the generic loss; 0 is Bradley-Terry, 1 is one reward for all."""

    base: BradleyTerry = field(default_factory=BradleyTerry)
    generic: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.generic <= 1:
            raise EvenhandError(f"p_rlhf: generic is {self.generic}. Expected: a number from 0 to 1. To do: leave it at 0.5.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch with the lowest validation loss under the users' own margins, averaged over users."""

        def loss(m: Tensor, rows: Tensor) -> Tensor:
            return (1 - self.generic) * bt(m[:, 0]) + self.generic * bt(m[:, 1])

        start = UserAndAnybody(self.base.untrained(train, seed))
        fitted = train_model(start, train, loss, valid, seed, self.base.schedule, valid_loss=lambda m: mean_over_users(bt(m[:, 0]), valid))
        return replace(fitted, scorer=with_head(fitted.scorer, own_reward))

    def variants(self) -> Iterator[PRlhfMethod]:
        """Itself, then the base's other regularisations, then other shares: what `tune` tries."""
        bases = list(self.base.variants())
        yield from (replace(self, base=base) for base in bases[:4])
        yield from (replace(self, generic=share) for share in (0.25, 0.75) if share != self.generic)
        yield from (replace(self, base=base) for base in bases[4:])


class UserAndAnybody(nn.Module):
    """A scorer that gives two rewards, float[n, 2]: under the user's state and under that of a user nobody knows."""

    def __init__(self, scorer: TrainableScorer):
        super().__init__()
        self.scorer = scorer

    def users(self, history: History) -> Tensor:
        """float[users, 2 s]: the user's state, then the generic one."""
        known = self.scorer.users(history)
        return torch.cat([known, self.scorer.users(nobody(history)).expand_as(known)], dim=1)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        known, generic = state.chunk(2, dim=1)
        return torch.stack([self.scorer.score(known, items), self.scorer.score(generic, items)], dim=1)


def own_reward(both: TrainableScorer) -> TrainableScorer:
    """What is kept after training: the scorer under the user's own state."""
    assert isinstance(both, UserAndAnybody)
    return both.scorer


def nobody(history: History) -> History:
    """One user without a pair and without a number."""
    none = history.chosen[:0]
    return History(history.items, torch.zeros(2, dtype=torch.long), none, none, torch.tensor([-1]))
