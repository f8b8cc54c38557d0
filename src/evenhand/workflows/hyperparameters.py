"""Methods and heads by name, and their hyperparameters by name: `alpha=0.25` finds its place in the method, its schedule or its head."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from types import ModuleType
from typing import Any

import evenhand.methods
import evenhand.models
from evenhand.core import EvenhandError, clip
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo


def found_in(package: ModuleType) -> dict[str, Any]:
    """File name → the one frozen dataclass that the file defines."""
    out: dict[str, Any] = {}
    for file in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{file.name}")
        own = (c for c in vars(module).values() if inspect.isclass(c) and is_dataclass(c) and c.__module__ == module.__name__)
        out[file.name] = next(own)
    return out


def named(package: ModuleType, name: str) -> Any:
    """The class of that file; an unknown name is an error with the nearest match."""
    known = found_in(package)
    if name not in known:
        raise EvenhandError(f"There is no {package.__name__.split('.')[-1][:-1]} '{clip(name)}'. {_nearest(name, known)}")
    return known[name]


def method(name: str, settings: Mapping[str, str], head: str | None = None) -> Any:
    """A method with its defaults and the hyperparameters set: method("pafo", {"alpha": "0.25"}, "attention").

    name: a file of methods/, or a user model of models/ that Bradley-Terry trains. head: default the file of that name in models/ where
    there is one (vpl, p_rlhf, pref), else lore.
    """
    methods, heads = found_in(evenhand.methods), found_in(evenhand.models)
    if name not in methods and name not in heads:
        raise EvenhandError(f"There is no method '{clip(name)}'. {_nearest(name, {**methods, **heads})}")
    kind = methods.get(name, methods["bradley_terry"])
    base = methods["bradley_terry"](head=named(evenhand.models, head or (name if name in heads else "lore"))())
    built = base if kind is methods["bradley_terry"] else kind(base=base)
    for hyperparameter, text in settings.items():
        built = turned(built, hyperparameter, text)
    return built


def base(method: Any) -> BradleyTerry:
    """What gives a method its head and schedule: itself, or the Bradley-Terry it starts from."""
    found: BradleyTerry = method if isinstance(method, BradleyTerry) else method.base
    return found


def works_on_groups(method: Any) -> bool:
    """Whether it does nothing of its own without two groups: PAFO is self-distillation then."""
    return method.needs_groups or isinstance(method, Pafo)


def turned(method: Any, hyperparameter: str, text: str) -> Any:
    """The method with one hyperparameter set from text."""
    found = _turn(method, hyperparameter, text)
    if found is None:
        raise EvenhandError(
            f"{type(method).__name__} has no hyperparameter '{clip(hyperparameter)}'. {_nearest(hyperparameter, dict(hyperparameters(method)))}"
        )
    return found


def hyperparameters(method: Any) -> Iterator[tuple[str, Any]]:
    """Every hyperparameter with its value, the method's own first."""
    own = [(f.name, getattr(method, f.name)) for f in fields(method)]
    yield from ((n, v.__name__ if inspect.isfunction(v) else v) for n, v in own if not is_dataclass(v))
    for _, value in own:
        if is_dataclass(value):
            yield from hyperparameters(value)


def _turn(node: Any, hyperparameter: str, text: str) -> Any:
    for f in fields(node):
        value = getattr(node, f.name)
        if f.name == hyperparameter and not is_dataclass(value):
            return replace(node, **{hyperparameter: _read(node, hyperparameter, value, text)})
        changed = _turn(value, hyperparameter, text) if is_dataclass(value) else None
        if changed is not None:
            return replace(node, **{f.name: changed})
    return None


def _read(node: Any, hyperparameter: str, now: Any, text: str) -> Any:
    """`text` as the type of the present value; a loss is named by its function."""
    if inspect.isfunction(now):
        module = importlib.import_module(type(node).__module__)
        known = {n: f for n, f in vars(module).items() if inspect.isfunction(f) and _signature(f) == _signature(now)}
        if text not in known:
            raise EvenhandError(f"'{clip(text)}' is no value of {hyperparameter}. {_nearest(text, known)}")
        return known[text]
    try:
        if isinstance(now, bool):
            return {"true": True, "false": False, "1": True, "0": False}[text.lower()]
        if isinstance(now, tuple):
            return tuple(float(part) for part in text.split(":"))
        return type(now)(text)
    except (KeyError, ValueError):
        expected = "low:high" if isinstance(now, tuple) else type(now).__name__
        raise EvenhandError(f"{hyperparameter}={clip(text)}. Expected: {expected}, like {now}. To do: correct the value.") from None


def _signature(function: Any) -> tuple[str, ...]:
    """Names of the arguments without a default."""
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"Expected: one of {', '.join(known)}. To do: " + (f"did you mean '{close[0]}'?" if close else "choose one of these.")
