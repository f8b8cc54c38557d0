"""Which method works best on these data: each tuned within one budget on validation pairs, in several seeds, and judged on test pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import evenhand.models
from evenhand.core import EvenhandError, PreferenceData
from evenhand.encode.minilm import MiniLM
from evenhand.report import Report
from evenhand.report.comparison import COMPARISON
from evenhand.workflows import hyperparameters
from evenhand.workflows.assignments import check_place
from evenhand.workflows.audit import must_be_data
from evenhand.workflows.comparing import Comparing, check_tolerance
from evenhand.workflows.grouping import Grouping
from evenhand.workflows.prepare import Encoding, Progress, silent
from evenhand.workflows.trained import references, title
from evenhand.workflows.trials import Bench, Entry, assign, check_jobs

EVERYTHING = (
    "pafo", "reweight", "group_dro", "maxmin", "mgda", "reward_fairness",
    "lore", "vpl", "p_rlhf", "p_rlhf_cluster", "pal", "pal_angle", "pref", "gpo", "attention", "low_rank", "collaborative",
)  # fmt: skip


def compare(
    data: PreferenceData,
    methods: Sequence[str] = EVERYTHING,
    *,
    seeds: int = 5,
    tune_settings: int = 4,
    out: str | Path = "compare",
    head: str | None = None,
    encoding: Encoding | None = None,
    grouping: Grouping | None = None,
    seed: int = 0,
    resamples: int = 1000,
    tolerance: float | None = None,
    jobs: int = 0,
    simulated: bool = False,
    command: str = "",
    assignments: str | Path | None = None,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda note: None,
) -> Report:
    """Train every method and both references (plain and personalised Bradley-Terry) in `seeds` seeds, and say who serves whom best.

    methods: names as in `fit`; "pafo:lore" is PAFO on LoRe's head. One that is a reference itself has no row of its own, which say is told. tune_settings: how many settings of each, references too, validation
    chooses among in every seed; the first is the default. head: of methods that have none of their own. out: folder whose subfolder
    `trials` keeps every finished fit, so that the same call goes on where it was stopped. jobs: processes at once, 0 = one a core. say: is
    told, before training, what a method cannot do on these data. assignments: CSV for every user's group and support in each seed; private.
    tolerance: where pairs are in events, the violation of a constraint that the
    choice must be within, in (0, 1]; None = the gamma of the constrained entries if they share one, else 0.05.
    Raises EvenhandError, before any training, on unknown names and on data without groups, or events, for a method that needs them.
    """
    must_be_data(data)
    if seeds < 1 or tune_settings < 0:
        raise EvenhandError(
            f"seeds={seeds}, tune={tune_settings}. Expected: at least one seed, and a budget of 0 or more. To do: correct it."
        )
    check_tolerance(tolerance)
    if assignments is not None:
        check_place(Path(assignments))
    budget = max(tune_settings, 1)
    entries, reference, told = rows(methods, head, budget, say)
    bench = Bench(data, encoding or Encoding(MiniLM()), grouping or Grouping(), Path(out) / "trials", check_jobs(jobs))
    numbers = range(seed, seed + seeds)
    trials = list(bench.run(entries, numbers, progress, say))
    if assignments is not None:
        assign(Path(assignments), data, trials)
    comparing = Comparing(
        entries, reference, numbers, f"{len(entries)} methods on {data.source}",
        simulated=simulated, resamples=resamples, command=command, tolerance=tolerance,
    )  # fmt: skip
    return Report(comparing.results(data, trials, bench.about() | {"tuned": told}), COMPARISON)


def rows(methods: Sequence[str], head: str | None, budget: int, say: Callable[[str], None]) -> tuple[list[Entry], str, str]:
    """(the entries, the fixed references first; the reference's name; a sentence on budget and on methods that are a reference already)."""
    base, known = hyperparameters.base(hyperparameters.method("bradley_terry", {}, head)), hyperparameters.found_in(evenhand.models)
    entries = [Entry(title("bradley_terry", m), m, budget) for m in references(base.schedule, base.head)]
    reference, told = (
        entries[-1].name,
        f"{budget} settings of each entry tried on validation in every seed" if budget > 1 else "defaults, no search",
    )
    for text in dict.fromkeys(methods):
        name, _, own_head = text.partition(":")
        method = hyperparameters.method(name, {}, own_head or (None if name in known else head))
        same = next((e.name for e in entries if e.method == method), None)
        if same is None:
            entries.append(Entry(title(name, method), method, budget))
        else:
            told += f"; {text} is the row '{same}'"
            say(f"{text} is {same}, which has a row already.")
    return entries, reference, told
