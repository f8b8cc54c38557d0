"""What was found in texts: plain frozen records, from which every output is made. No text is in them, but of `examples`, which are asked
for.

In an Estimate of texts n_users counts blocks (the unit that was drawn: all texts of one combination of the axes that are not matched),
n_pairs pairs or texts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from evenhand.audits.findings import Requirement
from evenhand.core import Estimate, Exclusions, Verdict
from evenhand.texts.audit import Tabled, Tested

Change = Literal["improved", "regressed", "undecided"]
FEWEST_BLOCKS = 10  # under which no interval over blocks is given


@dataclass(frozen=True)
class Gap:
    """One measure between the values of one matched axis, in the texts of one run.

    groups: value → mean, clustered by block. contrast: the two values that `signed` is of: the mean of the second less that of the first;
    of more than two values those farthest apart. d: signed over the standard deviation of the texts' own values. p: of no difference of
    means, by flips of sign, or permutations, inside blocks; p_holm: over all tests of the run. systematic: signed root of the mean squared
    gap of pairs that is left once the noise of single draws is taken off; systematic_p by dealing the draws of a pair anew. absolute, null:
    mean |gap| of pairs, and what it would be without any difference. mde: the |d| that would be found four times in five. testable: "" or
    why nothing is tested.
    """

    audit: str
    measure: str
    axis: str
    masked: bool
    groups: tuple[tuple[str, Estimate], ...]
    contrast: tuple[str, str]
    signed: Estimate
    d: Estimate
    p: float
    systematic: Estimate
    systematic_p: float
    absolute: float
    null: float
    mde: float
    n_pairs: int
    n_draws: int
    p_holm: float = math.nan
    systematic_p_holm: float = math.nan
    distance: str = ""  # of a profile: "L1" or "Jensen-Shannon"; signed and d are of none
    testable: str = ""
    df: float = (
        math.nan
    )  # degrees of freedom of the interval of `signed`, the fewest of any contrast: blocks, or values that blocks share, less one

    @property
    def key(self) -> tuple[str, str, str, bool, str]:
        return self.audit, self.measure, self.axis, self.masked, self.distance


@dataclass(frozen=True)
class Level:
    """The mean of a measure over all texts of a run."""

    audit: str
    measure: str
    masked: bool
    value: Estimate
    scale: float = 1.0
    fidelity: bool = False
    objective: bool = False


@dataclass(frozen=True)
class AuditFinding:
    """What one audit says beside its gaps, of one run."""

    name: str
    masked: bool
    formulas: Mapping[str, str]  # measure → how it is computed
    notes: Mapping[str, str]  # measure → what to know of it
    tests: tuple[Tested, ...]
    tables: tuple[Tabled, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """The texts of one stage or generator. selected: whether these texts were chosen by what is measured here, so that nothing follows for
    others. usable: share of texts that pass the format's checks. refused: check → texts that fail it.
    """

    name: str
    n_texts: int
    n_cells: int
    n_draws: int
    usable: Estimate
    refused: Mapping[str, int]
    gaps: tuple[Gap, ...]
    levels: tuple[Level, ...]
    audits: tuple[AuditFinding, ...]
    fingerprint: str = ""
    selected: bool = False


@dataclass(frozen=True)
class Moved:
    """A gap, or the level of a fidelity, in a run against the first one, on the same cells. difference: of sizes, below 0 = smaller than
    before (of a level: after less before). change: from the simultaneous interval; a fidelity that rises improves.
    """

    run: str
    audit: str
    measure: str
    axis: str  # "" of a level
    masked: bool
    before: Estimate
    after: Estimate
    difference: Estimate
    change: Change
    kind: Literal["signed", "systematic", "level"] = "systematic"
    distance: str = ""  # of a profile, as in Gap


@dataclass(frozen=True)
class Fall:
    """By how much selection made a mean |gap| smaller, in shares of it (.24 = 24 %). same: on the very texts that were chosen. fresh: on
    other draws of the same choices; nan = there are none. shuffled: the same choices dealt over prompts at random, its mean over deals.
    learned: fresh less shuffled, with an interval over blocks.
    """

    measure: str
    axis: str
    same: Estimate
    fresh: Estimate
    shuffled: Estimate
    learned: Estimate


@dataclass(frozen=True)
class Selection:
    """What gate and selection did. refused: constraint → candidates or pairs it refused. kept: share of blocks that keep their originals."""

    settings: Mapping[str, str]
    n_blocks: int
    n_candidates: int
    refused: Mapping[str, int]
    kept: float
    chosen: Mapping[str, int]  # source → texts chosen
    falls: tuple[Fall, ...]
    signed: tuple[tuple[str, str, float, float], ...] = ()  # measure, axis, signed gap of originals, of the chosen
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Admitted:
    """The runs that bounded regression admits at one setting; best: the one with the most improved audits, "" = no model selected."""

    rho: float
    eps: float
    runs: tuple[str, ...]
    best: str


@dataclass(frozen=True)
class Scored:
    """One run in the choice. regression: audit → relative change of its disparity against the first run (.1 = a tenth worse). fidelity: its
    change. improved: audits with less disparity, by the estimates. dominated: by which runs. fewer_usable: whether its share of usable
    texts is 0, or lies below the first run's beyond noise (intervals that do not meet; without intervals, by a tenth). from_nothing: audit →
    its disparity, where the first run has none: such a growth has no share, and its regression is infinite.
    """

    run: str
    regression: Mapping[str, float]
    fidelity: float
    improved: int
    dominated: tuple[str, ...] = ()
    fewer_usable: bool = False
    selected: bool = False
    from_nothing: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Choice:
    base: str
    runs: tuple[Scored, ...]
    admitted: tuple[Admitted, ...]
    rho: float  # the setting that decides
    eps: float
    best: str  # "" = no model selected
    note: str = ""  # how many texts and how much noise stand behind it

    def __repr__(self) -> str:
        chosen = f"'{self.best}'" if self.best else "no run"
        return f"Choice({chosen} among {len(self.runs) - 1:,} beside '{self.base}', at rho = {self.rho:g} and eps = {self.eps:g})"


@dataclass(frozen=True)
class Trained:
    """A stage that was trained. trace: (step, loss). facts: hyperparameters, counts, seconds."""

    stage: str
    facts: Mapping[str, str]
    trace: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Example:
    """Texts of matched cells side by side, only where asked for."""

    cells: tuple[str, ...]
    run: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class TextFindings:
    """All of it. runs: the first is what others are compared with. verdict: over `requirements`."""

    title: str
    grid: str
    axes: tuple[tuple[str, tuple[str, ...], bool], ...]  # name, values, matched
    n_cells: int
    n_blocks: int
    pairs: Mapping[str, int]  # matched axis → pairs
    runs: tuple[Run, ...]
    moved: tuple[Moved, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    verdict: Verdict = "INSUFFICIENT"
    selection: Selection | None = None
    choice: Choice | None = None
    trained: tuple[Trained, ...] = ()
    examples: tuple[Example, ...] = ()
    exclusions: Exclusions = field(default_factory=Exclusions)
    facts: Mapping[str, str] = field(default_factory=dict)
    formulas: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    simulated: bool = False
    command: str = ""
    note: str = ""
