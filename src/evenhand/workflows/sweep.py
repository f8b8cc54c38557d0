"""A grid of settings of one method, trained as stacks: what can be traded for what, chosen on validation pairs and shown on test pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path

from evenhand.core import EvenhandError, PreferenceData
from evenhand.encode.minilm import MiniLM
from evenhand.report import Report
from evenhand.report.comparison import SWEEP
from evenhand.workflows import hyperparameters
from evenhand.workflows.audit import must_be_data
from evenhand.workflows.comparing import Comparing, check_tolerance
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Encoding, Progress, silent
from evenhand.workflows.trained import references, title
from evenhand.workflows.trials import Bench, Entry, check_jobs

LARGEST_GRID = 256
STACK = 32  # settings trained as one stack


def sweep(
    data: PreferenceData,
    over: Mapping[str, Sequence[str]],
    method: str = "pafo",
    *,
    seeds: int = 5,
    settings: Mapping[str, str] | None = None,
    out: str | Path = "sweep",
    head: str | None = None,
    encoding: Encoding | None = None,
    grouping: Grouping | None = None,
    seed: int = 0,
    resamples: int = 1000,
    tolerance: float | None = None,
    jobs: int = 0,
    simulated: bool = False,
    command: str = "",
    progress: Progress = silent,
    say: Callable[[str], None] = lambda note: None,
) -> Report:
    """Train `method` at every combination of the hyperparameters in `over`, such as {"alpha": ["0.1", "0.5"], "balance": ["0", "1"]}.

    settings: hyperparameters that stay as they are set. Settings that differ in what does not shape the batches (alpha, balance, temperature, weight
    decay, power, gamma) train together as one model, each exactly as it would alone. Other arguments and errors as in `compare`.
    """
    must_be_data(data)
    if seeds < 1 or not over or not all(over.values()):
        raise EvenhandError(
            "A sweep needs at least one seed and one hyperparameter with values. Expected: --over alpha=0.1,0.5. To do: name them."
        )
    check_tolerance(tolerance)
    grid = list(product(*over.values()))
    if len(grid) > LARGEST_GRID:
        raise EvenhandError(f"The grid has {len(grid)} settings. Expected: {LARGEST_GRID} at most. To do: fewer values.")
    fixed = hyperparameters.method(method, settings or {}, head)
    base = hyperparameters.base(hyperparameters.method("bradley_terry", {}, head))
    entries = [Entry(title("bradley_terry", m), m) for m in references(base.schedule, base.head)]
    reference = entries[-1].name
    for values in grid:
        turned = fixed
        for hyperparameter, value in zip(over, values, strict=True):
            turned = hyperparameters.turned(turned, hyperparameter, value)
        entries.append(Entry(" ".join(f"{hyperparameter}={value}" for hyperparameter, value in zip(over, values, strict=True)), turned))
    if len({e.name for e in entries}) < len(entries):
        raise EvenhandError("A value stands twice in --over. Expected: each once. To do: leave one out.")
    bench = Bench(data, encoding or Encoding(MiniLM()), grouping or Grouping(), Path(out) / "trials", check_jobs(jobs))
    numbers = range(seed, seed + seeds)
    trials = list(bench.run(entries, numbers, progress, say, at_once=STACK))
    named = f"{title(method, fixed)} over {', '.join(over)} on {data.source}"
    comparing = Comparing(
        entries, reference, numbers, named, tuple(over), simulated=simulated, resamples=resamples, command=command, tolerance=tolerance
    )
    return Report(comparing.results(data, trials, bench.about()), SWEEP)
