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
from evenhand.core import EvenhandError, Method, clip
from evenhand.methods.bradley_terry import BradleyTerry
from evenhand.methods.pafo import Pafo
from evenhand.parts import built_in, calling, home, installed, part


def found_in(package: ModuleType) -> dict[str, Any]:
    """File name → the one frozen dataclass that the file defines."""
    out: dict[str, Any] = {}
    for file in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{file.name}")
        own = (c for c in vars(module).values() if inspect.isclass(c) and is_dataclass(c) and c.__module__ == module.__name__)
        out[file.name] = next(own)
    return out


def method(given: Any, settings: Mapping[str, Any], head: Any = None) -> Method:
    """A method with its hyperparameters set: method("pafo", {"alpha": 0.25}, "attention"), or method(Pafo(alpha=0.25), {}).

    given: a file of methods/; a user model of models/, which Bradley-Terry trains; a name from outside (`evenhand.parts`); a method's class; or a
    method as it is. head: likewise; default the file of the method's name in models/ where there is one (vpl, p_rlhf, pref), else lore,
    and of a method as it is its own.
    """
    built = _by_name(given, head) if isinstance(given, str) else _as_given(given, head)
    for hyperparameter, value in settings.items():
        built = turned(built, hyperparameter, value)
    return built


def _by_name(name: str, head: Any) -> Method:
    methods, heads = found_in(evenhand.methods), found_in(evenhand.models)
    if name in methods or name in heads:
        base = BradleyTerry(head=head_of(head or (name if name in heads else "lore")))
        kind = methods.get(name, BradleyTerry)
        return base if kind is BradleyTerry else kind(base=base)
    if (found := part("methods", name)) is not None:
        return _as_given(found, head)
    if (found := part("heads", name)) is not None:
        return BradleyTerry(head=head_of(found))
    known = {**methods, **heads, **dict.fromkeys((*installed("methods"), *installed("heads")))}
    raise EvenhandError(f"There is no method '{clip(name)}'. {_nearest(name, known)}")


def told_head(given: Any, told: int) -> str | None:
    """The head of a method by name where `told` choices of a user stand in the input: linear, unless the name brings a head of its own."""
    own = given in found_in(evenhand.models) if isinstance(given, str) else True
    return "linear" if told and not own and given in found_in(evenhand.methods) else None


def _as_given(given: Any, head: Any) -> Method:
    """A method, or one of that class with its defaults; on another head where one is named. A head alone is trained by Bradley-Terry."""
    given = _with_defaults(given)
    if is_dataclass(given) and callable(vars(type(given)).get("build")):
        given = BradleyTerry(head=head_of(given))
    kind = given if inspect.isclass(given) else type(given)
    lacking = [n for n in ("fit", "variants", "needs_groups", "unreduced", "constraint") if not any(n in vars(c) for c in kind.__mro__)]
    if not is_dataclass(kind):
        lacking = ["@dataclass(frozen=True)", *lacking]
    elif not isinstance(given, BradleyTerry) and not isinstance(vars(given).get("base"), BradleyTerry):
        lacking.append("base: BradleyTerry")
    if lacking:
        raise EvenhandError(
            f"{kind.__name__} is no method: it lacks {', '.join(lacking)}. Expected: a frozen dataclass as in methods/. "
            "To do: inherit evenhand.core.Method and add what is missing; evenhand.testing.check_method says more."
        )
    if head is None:
        return given
    of = replace(base(given), head=head_of(head))
    return of if isinstance(given, BradleyTerry) else replace(given, base=of)


def head_of(given: Any) -> Any:
    """A head by the name of its file in models/, by a name from outside, its class, or as it is."""
    if isinstance(given, str):
        known = found_in(evenhand.models)
        found = known[given] if given in known else part("heads", given)
        if found is None:
            raise EvenhandError(f"There is no model '{clip(given)}'. {_nearest(given, {**known, **dict.fromkeys(installed('heads'))})}")
        given = found
    given = _with_defaults(given)
    kind = given if inspect.isclass(given) else type(given)
    lacking = [n for n in ("build", "reads_new_users") if not any(n in vars(c) for c in kind.__mro__)]
    if lacking or not is_dataclass(kind):
        raise EvenhandError(
            f"{kind.__name__} is no head: it lacks {', '.join(lacking) or '@dataclass(frozen=True)'}. Expected: a frozen dataclass as in "
            "models/. To do: inherit evenhand.core.Head and add what is missing; evenhand.testing.check_head says more."
        )
    return given


def _with_defaults(given: Any) -> Any:
    """The object of a dataclass, which must do without arguments; all else as it is."""
    if not (inspect.isclass(given) and is_dataclass(given)):
        return given
    with calling("a dataclass whose fields all have defaults", given):
        return given()


def name_of(given: Any) -> str:
    """What a method or head is called: the file's name of one of this package, the class's name of any other."""
    return home(given).rsplit(".", 1)[-1] if built_in(given) else (given if inspect.isclass(given) else type(given)).__name__


def base(method: Any) -> BradleyTerry:
    """What gives a method its head and schedule: itself, or the Bradley-Terry it starts from."""
    found: BradleyTerry = method if isinstance(method, BradleyTerry) else method.base
    return found


def works_on_groups(method: Method) -> bool:
    """Whether it does nothing of its own without two groups: PAFO is self-distillation then."""
    return method.needs_groups or isinstance(method, Pafo)


def turned(method: Method, hyperparameter: str, value: Any) -> Method:
    """The method with one hyperparameter set, from a value of its own type or from text."""
    found = _turn(method, hyperparameter, value)
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


def settings(method: Method) -> dict[str, str]:
    """Every hyperparameter's value; no two hyperparameters of a method have one name."""
    return {name: str(value) for name, value in hyperparameters(method)}


def _turn(node: Any, hyperparameter: str, to: Any) -> Any:
    for f in fields(node):
        value = getattr(node, f.name)
        if f.name == hyperparameter and not is_dataclass(value):
            return replace(node, **{hyperparameter: _read(node, hyperparameter, value, to)})
        changed = _turn(value, hyperparameter, to) if is_dataclass(value) else None
        if changed is not None:
            return replace(node, **{f.name: changed})
    return None


def _read(node: Any, hyperparameter: str, now: Any, text: Any) -> Any:
    """A value, or text, as the type of the present value; a loss is named by its function."""
    if not isinstance(text, str):
        return _typed(hyperparameter, now, text)
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


def _typed(hyperparameter: str, now: Any, value: Any) -> Any:
    """A value that is no text, where its type is that of the present one; whole numbers are decimals, too."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(now, float) and number:
        return float(value)
    if isinstance(now, tuple) and isinstance(value, tuple | list):
        return tuple(value)
    if (inspect.isfunction(now) and inspect.isfunction(value)) or type(value) is type(now):
        return value
    expected = "a function" if inspect.isfunction(now) else f"{type(now).__name__}, like {now}"
    raise EvenhandError(f"{hyperparameter} is {clip(value)}. Expected: {expected}. To do: correct the value.")


def _signature(function: Any) -> tuple[str, ...]:
    """Names of the arguments without a default."""
    return tuple(p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty)


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, 1, 0.5)
    return f"Expected: one of {', '.join(known)}. To do: " + (f"did you mean '{close[0]}'?" if close else "choose one of these.")
