"""Which method works best on these data: each tuned within one budget on validation pairs, in several seeds, and judged on test pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import evenhand.models
from evenhand import ranks
from evenhand.core import SMALLEST_CELL, EvenhandError, Head, Method
from evenhand.encode.backbone import Backbone
from evenhand.engines import Engine
from evenhand.engines.asked import asked
from evenhand.engines.here import processes
from evenhand.parts import split_head
from evenhand.report import Report
from evenhand.report.comparison import COMPARISON
from evenhand.workflows import hyperparameters
from evenhand.workflows.assignments import check_place
from evenhand.workflows.comparing import Comparing, check_violation
from evenhand.workflows.encoding import Encoding, check_heads, encoding_of
from evenhand.workflows.given import GroupBy, Metrics, all_metrics, grouping_of, read
from evenhand.workflows.progress import Progress, shown
from evenhand.workflows.tracking import Tracker, figures_of_comparison, tracking
from evenhand.workflows.trained import called, references, title
from evenhand.workflows.trials import Bench, Entry, Trial, assign

EVERYTHING = (
    "pafo", "inverse_frequency", "group_dro", "maxmin", "mgda", "reward_fairness",
    "lore", "vpl", "p_rlhf", "p_rlhf_cluster", "pal", "pal_angle", "pref", "gpo", "attention", "low_rank", "collaborative",
)  # fmt: skip


def compare(
    data: Any,
    methods: Sequence[str | Method | type[Method]] | None = None,
    *,
    head: str | Head | type[Head] | None = None,
    tune: int = 4,
    seeds: int = 5,
    group_by: GroupBy = None,
    violation: float | None = None,
    metrics: Metrics = (),
    encoding: Encoding | None = None,
    backbone: str | Path | Backbone | None = None,
    out: str | Path = "compare",
    title: str = "",
    note: str = "",
    simulated: bool = False,
    assignments: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    jobs: int = 0,
    engine: str | Engine = "here",
    address: str | None = None,
    command: str = "",
    progress: Progress | None = None,
    track: str | Tracker | None = None,
    say: Callable[[str], None] = lambda note: None,
) -> Report:
    """Train every method and both references (plain and personalised Bradley-Terry) in `seeds` seeds, and say who serves whom best.

    A method that is a reference itself has no row of its own, which `say` is told. Parameters that `fit` or `audit` have, too, mean the same here.

    Args:
        methods: Methods or user models as in `evenhand fit`, with commas; pafo:lore is PAFO on LoRe's head. Default: all.
        tune: Settings of each method to try on validation in every seed, at most 8; 0 = defaults.
        seeds: How many seeds, from --seed upwards: each deals the data and trains anew.
        violation: Largest accepted violation of a constraint, for the choice where pairs are in events; default: the entries' own gamma, else 0.05.
        out: Folder for the report, and for finished fits: the same command goes on where it stopped.
        jobs: Processes at once, one thread each; 0 = one a core.
        engine: here (processes of this machine) or ray (those of a Ray cluster; extra ray).
        address: HOST:PORT of the Ray cluster, or auto; default: RAY_ADDRESS, else a Ray of this machine for as long as it takes.
        say: is told, before training, what a method cannot do on these data.

    Raises EvenhandError, before any training, on unknown names and on data without groups, or events, for a method that needs them.
    """
    ranks.alone("compare")
    grouping = grouping_of(group_by)
    data, known = read(data, attributes=grouping.attributes), all_metrics(metrics)
    if seeds < 1 or tune < 0:
        raise EvenhandError(f"seeds={seeds}, tune={tune}. Expected: at least one seed, and a budget of 0 or more. To do: correct it.")
    check_violation(violation)
    if assignments is not None:
        check_place(Path(assignments))
    encoded = encoding_of(encoding, backbone, data)
    entries, reference, budget = rows(EVERYTHING if methods is None else methods, head, max(tune, 1), say, encoded.told)
    check_heads(encoded, {e.name: e.method for e in entries})
    numbers = range(seed, seed + seeds)
    with asked(engine, address, processes(jobs), jobs) as trains, shown(progress) as told:
        bench = Bench(data, encoded, grouping, Path(out) / "trials", trains, known, None if engine == "here" else trains)
        about = {"verb": "compare", "source": data.source, "command": command, "seeds": seeds, "seed": seed, "tune": tune}
        about |= {"entries": ", ".join(e.name for e in entries), **bench.about()}
        with tracking(track, lambda: about | {"data": bench.digest[:32]}, say) as tracked:
            found = []
            for trial in bench.run(entries, numbers, told, say):
                found.append(trial)
                if isinstance(trial, Trial):
                    tracked.step(trial.entry, trial.seed, _summary(trial))
            if assignments is not None:
                assign(Path(assignments), data, found)
            comparing = Comparing(
                entries, reference, numbers, title or f"{len(entries)} methods on {data.source}",
                simulated=simulated, resamples=resamples, command=command, tolerance=violation, metrics=known, note=note,
            )  # fmt: skip
            report = Report(comparing.results(data, found, bench.about() | {"tuned": budget}), COMPARISON)
            tracked.finish(report, figures_of_comparison)
    return report


def _summary(trial: Trial) -> dict[str, float]:
    """What a tracker is told of one fit: accuracy over all users who have pairs, unless they are too few to be told of, and seconds."""
    out = {"seconds": trial.seconds}
    for cell, told in (("valid", "validation accuracy"), ("test", "test accuracy")):
        by_user = trial.arrays[f"{cell}.accuracy"]
        by_user = by_user[~np.isnan(by_user)]
        if len(by_user) >= SMALLEST_CELL:
            out[told] = float(by_user.mean())
    return out


def rows(methods: Sequence[Any], head: Any, budget: int, say: Callable[[str], None], told: int = 0) -> tuple[list[Entry], str, str]:
    """(the entries, the fixed references first; the reference's name; a sentence on budget and on methods that are a reference already)."""
    head = head or ("linear" if told else None)
    base, known = hyperparameters.base(hyperparameters.method("bradley_terry", {}, head)), hyperparameters.found_in(evenhand.models)
    entries = [Entry(title("bradley_terry", m, told), m, budget) for m in references(base.schedule, base.head)]
    reference, about = (
        entries[-1].name,
        f"{budget} settings of each entry tried on validation in every seed" if budget > 1 else "defaults, no search",
    )
    for given in [methods] if isinstance(methods, str) else methods:
        named, own_head = split_head(given) if isinstance(given, str) else (given, None)
        of_method = None if not isinstance(named, str) or named in known else head
        method = hyperparameters.method(named, {}, own_head or of_method)
        same = next((e.name for e in entries if e.method == method), None)
        if same is None:
            entries.append(Entry(_told_apart(title(called(named), method, told), method, entries), method, budget))
        else:
            text = given if isinstance(given, str) else called(given)
            about += f"; {text} is the row '{same}'"
            say(f"{text} is {same}, which has a row already.")
    return entries, reference, about


def _told_apart(name: str, method: Method, entries: Sequence[Entry]) -> str:
    """The name; where an entry has it already, with the hyperparameters that differ from that one's."""
    other = next((e.method for e in entries if e.name == name), None)
    if other is None:
        return name
    before = hyperparameters.settings(other)
    apart = ", ".join(f"{k}={v}" for k, v in hyperparameters.settings(method).items() if before.get(k) != v)
    if not apart or any(e.name == f"{name}, {apart}" for e in entries):
        raise EvenhandError(f"Two different methods are called {name}. Expected: a name for each. To do: rename the class of one.")
    return f"{name}, {apart}"
