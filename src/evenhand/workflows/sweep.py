"""A grid of settings of one method, trained as stacks: what can be traded for what, chosen on validation pairs and shown on test pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from evenhand import ranks
from evenhand.core import EvenhandError, Head, Method
from evenhand.encode.backbone import Backbone
from evenhand.engines import Engine
from evenhand.engines.asked import asked
from evenhand.engines.here import processes
from evenhand.report import Report
from evenhand.report.comparison import SWEEP
from evenhand.workflows import hyperparameters
from evenhand.workflows.comparing import Comparing, check_violation
from evenhand.workflows.encoding import Encoding, check_heads, encoding_of
from evenhand.workflows.given import GroupBy, Metrics, all_metrics, grouping_of, read
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.trained import called, references
from evenhand.workflows.trained import title as of_method
from evenhand.workflows.trials import Bench, Entry

LARGEST_GRID = 256
STACK = 32  # settings trained as one stack


def sweep(
    data: Any,
    over: Mapping[str, Sequence[Any]],
    method: str | Method | type[Method] = "pafo",
    *,
    head: str | Head | type[Head] | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: int = 5,
    group_by: GroupBy = None,
    violation: float | None = None,
    metrics: Metrics = (),
    encoding: Encoding | None = None,
    backbone: str | Path | Backbone | None = None,
    out: str | Path = "sweep",
    title: str = "",
    note: str = "",
    simulated: bool = False,
    resamples: int = 1000,
    seed: int = 0,
    jobs: int = 0,
    engine: str | Engine = "here",
    address: str | None = None,
    command: str = "",
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Report:
    """Train `method` at every combination of the hyperparameters in `over`, such as {"alpha": [0.1, 0.5], "balance": [0, 1]}.

    Settings that differ in what does not shape the batches (alpha, balance, temperature, weight decay, power, gamma) train together as one
    model, each exactly as it would alone. Parameters that `compare`, `fit` or `audit` have, too, mean the same here, and errors are those of `compare`.

    Args:
        over: Hyperparameters and their values, such as alpha=0.1,0.5; of several every combination.
        method: A file of methods/ or a user model of models/; or one from outside: ./FILE.py:NAME.
        settings: Hyperparameters that stay, such as rank=6.
        engine: Who trains: this machine (here) or the workers of a Ray cluster (ray; extra ray).
    """
    ranks.alone("sweep")
    grouping = grouping_of(group_by)
    data, known = read(data, attributes=grouping.attributes), all_metrics(metrics)
    if seeds < 1 or not over or not all(len(values) for values in over.values()):
        raise EvenhandError(
            "A sweep needs at least one seed and one hyperparameter with values. Expected: --over alpha=0.1,0.5. To do: name them."
        )
    check_violation(violation)
    grid = list(product(*over.values()))
    if len(grid) > LARGEST_GRID:
        raise EvenhandError(f"The grid has {len(grid)} settings. Expected: {LARGEST_GRID} at most. To do: fewer values.")
    encoded = encoding_of(encoding, backbone, data)
    head = head or hyperparameters.told_head(method, encoded.told)
    fixed = hyperparameters.method(method, settings or {}, head)
    base = hyperparameters.base(hyperparameters.method("bradley_terry", {}, head))
    entries = [Entry(of_method("bradley_terry", m, encoded.told), m) for m in references(base.schedule, base.head)]
    reference = entries[-1].name
    for values in grid:
        turned = fixed
        for hyperparameter, value in zip(over, values, strict=True):
            turned = hyperparameters.turned(turned, hyperparameter, value)
        entries.append(Entry(" ".join(f"{hyperparameter}={value}" for hyperparameter, value in zip(over, values, strict=True)), turned))
    if len({e.name for e in entries}) < len(entries):
        raise EvenhandError("A value stands twice in --over. Expected: each once. To do: leave one out.")
    check_heads(encoded, {e.name: e.method for e in entries})
    numbers = range(seed, seed + seeds)
    with asked(engine, address, processes(jobs), jobs) as trains, shown(progress) as told:
        bench = Bench(data, encoded, grouping, Path(out) / "trials", trains, known, None if engine == "here" else trains)
        trials = list(bench.run(entries, numbers, told, say, at_once=STACK))
    named = title or f"{of_method(called(method), fixed, encoded.told)} over {', '.join(over)} on {data.source}"
    comparing = Comparing(
        entries,
        reference,
        numbers,
        named,
        tuple(over),
        simulated=simulated,
        resamples=resamples,
        command=command,
        tolerance=violation,
        metrics=known,
        note=note,
    )
    return Report(comparing.results(data, trials, bench.about()), SWEEP)
