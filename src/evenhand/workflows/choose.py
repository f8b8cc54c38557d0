"""Choose among runs of texts that were audited: the stages of an alignment, or models."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from evenhand import writing
from evenhand.core import DataError, Estimate, EvenhandError, clip
from evenhand.report.publish import document
from evenhand.texts.findings import Choice, Gap, Level, Run
from evenhand.texts.selecting.choice import choice

FORMAT = "evenhand texts"
KIND = "choice"
MOST_BYTES = 2**28


def choose(runs: Sequence[str | Path], *, rho: float = 0.1, eps: float = 0.02, base: str = "", out: str | Path | None = None) -> Choice:
    """The run to take, by bounded regression over all audits: none of them may be worse than the first run by more than rho, nor fidelity
    lower by more than eps; of those that keep this, the one that improves most audits. None may keep it: then none is chosen.

        evenhand.choose(["audit", "audit-tuned"]).best

    Args:
        runs: Folders that audit-text wrote, or their report.json; each may hold several runs.
        rho: By what share an audit's disparity may be above the first run's.
        eps: By how much fidelity may be below the first run's, in its own units.
        out: JSON file for the choice, with the runs admitted at other bounds.

    Raises DataError for files that are no reports of texts; EvenhandError for fewer than two runs and runs on different grids.
    """
    found = choice(audited_runs(runs, base), rho=rho, eps=eps)
    if out is not None:
        path = Path(out)
        writing.write(path.parent, {path.name: written(found)}, KIND)
    return found


def audited_runs(places: Sequence[str | Path], base: str = "") -> tuple[Run, ...]:
    """The runs of reports, the base first. One run in several reports counts once; others of one name get their folder's name before it."""
    found: dict[str, Run] = {}
    grid = ""
    for place in places:
        path, said = _read(Path(place))
        if grid and said["grid"] != grid:
            raise EvenhandError(
                f"Found runs on the grids '{clip(grid)}' and '{clip(said['grid'])}'. Expected: one grid, so that their audits can be compared. "
                "To do: leave one out."
            )
        grid = said["grid"]
        for run in said["runs"]:
            name = run.name
            if name in found and found[name] != run:
                name = f"{path.resolve().parent.name}/{name}"
                if name in found:
                    raise EvenhandError(f"Found two runs called '{clip(name)}'. Expected: every name once. To do: rename a folder.")
            found[name] = replace(run, name=name)
    if base and base not in found:
        raise EvenhandError(f"There is no run '{clip(base)}'. Expected: one of {clip(', '.join(found), 200)}. To do: name one of them.")
    first = base or next(iter(found), "")
    return tuple(sorted(found.values(), key=lambda run: run.name != first))


def written(choice: Choice) -> bytes:
    """The choice as JSON."""
    return (json.dumps({"format": "evenhand choice 1", **document(choice)}, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(
        errors="backslashreplace"
    )


def _read(place: Path) -> tuple[Path, dict[str, Any]]:
    path = place / "report.json" if place.is_dir() else place
    if not path.is_file():
        raise _fault("there is no such file", path)
    with path.open("rb") as stream:
        raw = stream.read(MOST_BYTES + 1)
    try:
        said = json.loads(raw[:MOST_BYTES])
    except (ValueError, RecursionError) as error:
        raise _fault("it is not valid JSON", path) from error
    if not isinstance(said, dict) or not str(said.get("format", "")).startswith(FORMAT + " "):
        raise _fault("it is no report of texts", path)
    try:
        return path, {"grid": _text(said["grid"]), "runs": [_run(run) for run in said["runs"]]}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _fault(f"it lacks what a report of texts has ({type(error).__name__} {clip(str(error), 40)})", path) from error


def _fault(found: str, path: Path) -> DataError:
    return DataError(
        found,
        expected="a report that evenhand audit-text wrote",
        remedy="name its folder, or write it again",
        file="/".join(name for name in (path.parent.name, path.name) if name),
    )


def _run(said: Mapping[str, Any]) -> Run:
    """What a choice reads of a run."""
    share = said["usable"]
    usable = Estimate(_number(share["value"]), _number(share["low"]), _number(share["high"]), 0, 0)
    return Run(
        _text(said["name"]), int(said["n_texts"]), int(said["n_cells"]), int(said["n_draws"]), usable, {}, tuple(_gaps(said["gaps"])),
        tuple(_levels(said["levels"])), (), _text(said.get("fingerprint", "")), bool(said.get("selected", False)),
    )  # fmt: skip


def _gaps(said: Sequence[Mapping[str, Any]]) -> Iterator[Gap]:
    nan = math.nan
    nothing = Estimate(nan, nan, nan, 0, 0)
    for one in said:
        yield Gap(
            _text(one["audit"]), _text(one["measure"]), _text(one["axis"]), bool(one["masked"]), (), ("", ""), nothing, nothing, nan, nothing, nan,
            _number(one["absolute"]), _number(one["null"]), nan, int(one["n_pairs"]), int(one["n_draws"]), distance=_text(one["distance"]),
        )  # fmt: skip


def _levels(said: Sequence[Mapping[str, Any]]) -> Iterator[Level]:
    for one in said:
        value = _number(one["value"]["value"])
        yield Level(
            _text(one["audit"]), _text(one["measure"]), bool(one["masked"]), Estimate(value, math.nan, math.nan, 0, 0), 1.0, bool(one["fidelity"]),
            bool(one["objective"]),
        )  # fmt: skip


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise TypeError("a number is none")
    return math.nan if value is None else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a name is none")
    return value
