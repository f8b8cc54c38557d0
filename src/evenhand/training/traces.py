"""What a training leaves: its trace, epoch by epoch, how constraints went, and the model that was fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from evenhand.core import TrainableScorer
from evenhand.training.choosing import Guard
from evenhand.training.phases import Step

ROUNDING = 1e-6  # of rates in single precision: hard ones can lie at gamma itself


@dataclass
class Trace:
    """What happened: losses by epoch, the epoch kept, seconds (of several trained together, its share), pairs a second.

    Of steps on texts: loss, learning rate of the adapter and texts a second, one each. stopped_step, stopped_batch (of its pass), from 1: where
    a number was none, 0 = nowhere; stopped_by: "loss", "gradient" or "features". Training on texts then ended with the best epoch so far.
    """

    train_loss: list[float] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    excess: list[float] = field(default_factory=list)  # beyond the constraints, where there are any
    best_epoch: int = 0
    tuned_from: int = 0  # the epochs after this one moved the features too; 0 = none did
    by_group: bool = False  # the epoch was kept by `rise`, not by valid_loss alone
    seconds: float = 0.0
    pairs_per_second: float = 0.0
    step_loss: list[float] = field(default_factory=list)
    step_lr: list[float] = field(default_factory=list)
    texts_per_second: list[float] = field(default_factory=list)
    stopped_step: int = 0
    stopped_batch: int = 0
    stopped_by: str = ""

    def add(self, step: Step) -> None:
        self.step_loss.append(step.loss)
        self.step_lr.append(step.lr)
        self.texts_per_second.append(step.texts_per_second)

    @property
    def stopped(self) -> str:
        """One sentence on where training on texts met a number that is none, "" where it did not."""
        if not self.stopped_step:
            return ""
        kept = f"epoch {self.best_epoch}" if self.best_epoch else "the untrained model"
        verb = "were" if self.stopped_by == "features" else "was"
        return (
            f"Training on texts stopped at step {self.stopped_step} (batch {self.stopped_batch} of its pass), where the {self.stopped_by} {verb} "
            f"not finite; kept is the best before it, {kept}. To do: lower the learning rate, or train in float32."
        )


@dataclass(frozen=True)
class Constrained:
    """How a constrained fit went, one entry an epoch: violations D on training and validation pairs, multipliers by constraint.

    matrix float[constraints, cells]: A of g = A q - slack. dual: "soft" or "hard", the decision of these violations. player: "additive"
    or "swap-regret".
    """

    notion: str  # "dp", "eo", "cf"
    gamma: float
    matrix: Tensor
    dual: str
    player: str
    train: list[float] = field(default_factory=list)
    valid: list[float] = field(default_factory=list)
    multipliers: list[list[float]] = field(default_factory=list)

    def add(self, train: float, valid: float, multipliers: Tensor) -> None:
        self.train.append(train)
        self.valid.append(valid)
        self.multipliers.append(multipliers.tolist())

    def feasible(self, epoch: int) -> bool:
        """Whether the model of this epoch (1 = first) is within gamma on training pairs."""
        return 0 < epoch <= len(self.train) and self.train[epoch - 1] <= self.gamma + ROUNDING


@dataclass(frozen=True)
class Fitted:
    """A trained scorer with its trace."""

    scorer: TrainableScorer
    trace: Trace
    parts: Mapping[str, Fitted] = field(default_factory=dict)  # other models trained on the way, such as teachers
    target: Tensor | None = None  # float[n]: the training pairs' margins under teachers, where there are any
    constrained: Constrained | None = None  # of a fit under constraints
    guard: Guard | None = None  # of a method that falls back on another model where a group would lose
