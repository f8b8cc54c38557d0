"""VPL's training rule: Bradley-Terry under a sampled latent, and a penalty on what the latent tells (Poddar et al. 2024, arXiv 2408.10075).

    L = L_BT(margin under s z) + w t KL(N(mu_u, sigma_u^2) || N(0, 1)),      z = mu_u + sigma_u eps,      log sigma_u^2 clamped to [-1, 1]

t rises from 0 to 1 over the first `anneal` batches; w = 3e-6, the paper's. At test z = mu_u: the model that comes out is the head alone,
whose state is s mu_u. It goes with the paper's encoder, `--head vpl`, and with any other history-conditioned head. s, the latent's unit, is
the spread of the states that the untrained head gives the training users, so that the prior N(0, 1) suits any head. A negative evidence
bound has w = 1; with the paper's w the penalty hardly counts and the noise is what regularises.

Differs from the paper: log sigma^2 is read off mu by one linear layer instead of off the encoder's last hidden layer; t rises once
instead of in cycles. Where a user has little history the paper's KL pulls mu to 0; here the encoder's empty entry does so as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from evenhand.core import EvenhandError, History, Method, Pairs, TrainableScorer
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.training.loop import pair_bt, train_model
from evenhand.training.state_bytes import State
from evenhand.training.traces import Fitted
from evenhand.training.tuned import with_head


@dataclass(frozen=True)
class VplMethod(Method):
    """base: head and schedule. kl >= 0: w, weight of the penalty. anneal: batches until it counts in full."""

    base: BradleyTerry = field(default_factory=BradleyTerry)
    kl: float = 3e-6
    anneal: int = 1000

    def __post_init__(self) -> None:
        if not self.kl >= 0 or self.anneal < 1:
            raise EvenhandError(f"vpl: kl={self.kl}, anneal={self.anneal}. Expected: kl >= 0, anneal >= 1. To do: leave them out.")

    def fit(self, train: Pairs, valid: Pairs, seed: int) -> Fitted:
        """The epoch with the lowest validation loss under z = mu, averaged over users."""
        scorer = self.base.untrained(train, seed)
        start = Posterior(scorer, train.history)
        sampled = Sampled(self, seed)
        fitted = train_model(start, train, pair_bt, valid, seed, self.base.schedule, read=sampled, memory=sampled)
        return replace(fitted, scorer=with_head(fitted.scorer, mean_state))

    def variants(self) -> Iterator[VplMethod]:
        """Itself, then the base's other regularisations, then other weights of the penalty: what `tune` tries."""
        bases = list(self.base.variants())
        yield from (replace(self, base=base) for base in bases[:4])
        yield from (replace(self, kl=kl) for kl in (1e-3, 3e-2) if kl != self.kl)
        yield from (replace(self, base=base) for base in bases[4:])


class Sampled:
    """How a batch of users is read in training: z drawn from the posterior, and the annealed penalty."""

    def __init__(self, method: VplMethod, seed: int):
        self.method, self.generator, self.batches = method, torch.Generator().manual_seed(seed), 0

    def __call__(self, posterior: Posterior, history: History) -> tuple[Tensor, Tensor]:
        self.batches += 1
        mean = posterior.users(history) / posterior.unit
        log_variance = posterior.log_variance(mean)
        z = mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=self.generator)
        weight = self.method.kl * min(1, self.batches / self.method.anneal)
        return posterior.unit * z, weight * kl_to_standard_normal(mean, log_variance).mean()

    def state(self) -> State:
        return {"generator": self.generator.get_state(), "batches": self.batches}

    def load(self, state: State) -> None:
        self.generator.set_state(state["generator"])
        self.batches = state["batches"]


class Posterior(nn.Module):
    """A scorer under its mean state, and the width of the posterior around it. Parameters besides the scorer's: S float[s, s], s0 float[s].

    unit: the spread over users of the scorer's states as built, 1 where there is none.
    """

    def __init__(self, scorer: TrainableScorer, history: History):
        super().__init__()
        self.scorer = scorer
        with torch.no_grad():
            states = scorer.users(history)
        size, spread = states.shape[1], float(states.std(0).mean()) if len(states) > 1 and states.numel() else 0.0
        self.unit = spread if spread > 1e-6 else 1.0
        self.S = nn.Parameter(torch.zeros(size, size))
        self.s0 = nn.Parameter(torch.full((size,), -0.9))  # near its lower bound: little noise while mu is small

    def users(self, history: History) -> Tensor:
        """s mu_u, float[users, s]."""
        return self.scorer.users(history)

    def log_variance(self, mean: Tensor) -> Tensor:
        """log sigma_u^2, float[users, s], in [-1, 1]."""
        return (mean @ self.S + self.s0).clamp(-1, 1)

    def score(self, state: Tensor, items: Tensor) -> Tensor:
        return self.scorer.score(state, items)


def mean_state(posterior: TrainableScorer) -> TrainableScorer:
    """What is kept after training: the scorer under its mean state."""
    assert isinstance(posterior, Posterior)
    return posterior.scorer


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, diag sigma^2) || N(0, 1)), float[users], >= 0 (Kingma & Welling 2014, appendix B)."""
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(1) / 2
