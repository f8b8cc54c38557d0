"""Methods, heads, metrics, sources and audits of texts from outside the package: a name in a user's file, an entry point, or an object as it is.

    ./mine.py:MyMethod      the file is run, as `python ./mine.py` would run it, so name only files you trust
    my_method               the entry point of that name in the group evenhand.methods (evenhand.heads, evenhand.metrics, evenhand.sources,
                            evenhand.text_audits)

What is built in goes before an entry point of the same name.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from evenhand.core import EvenhandError, clip

IN_FILE = re.compile(r"(?P<file>.*\.py):(?P<name>[^:]+)")
IN_HOUSE = re.compile(r"_[0-9a-f]{12}$")  # how `load_file` names modules
RAN: dict[str, tuple[Path, bytes]] = {}  # module → the file that `load_file` ran for it, as it was then
WITH_HEAD = re.compile(r"(?P<method>(?:[^:]*\.py:)?[^:]+)(?::(?P<head>.+))?")


def part(kind: str, text: str) -> Any | None:
    """The object that `text` names outside the package, None if it is neither in a file nor an entry point. kind: methods, heads, metrics, sources, text_audits."""
    if found := IN_FILE.fullmatch(text):
        return _in_file(Path(found["file"]), found["name"])
    for point in entry_points(group=f"evenhand.{kind}", name=text):
        try:
            return point.load()
        except Exception as error:
            raise EvenhandError(
                f"Entry point {clip(text)} of evenhand.{kind} cannot be loaded ({type(error).__name__}: {clip(str(error))}). "
                f"Expected: {clip(point.value)}. To do: reinstall the package that brings it."
            ) from error
    return None


def installed(kind: str) -> tuple[str, ...]:
    """Names of entry points, for messages."""
    return tuple(sorted({point.name for point in entry_points(group=f"evenhand.{kind}")}))


def split_head(text: str) -> tuple[str, str | None]:
    """ "pafo:lore" → ("pafo", "lore"); "./mine.py:Rule:lore" → ("./mine.py:Rule", "lore")."""
    found = WITH_HEAD.fullmatch(text)
    return (found["method"], found["head"]) if found else (text, None)


def _in_file(file: Path, name: str) -> Any:
    module = load_file(file)
    known = {n: v for n, v in vars(module).items() if not n.startswith("_")}
    if name not in known:
        defined = [n for n, v in known.items() if getattr(v, "__module__", "") == module.__name__]
        near = difflib.get_close_matches(name, defined, 1)
        raise EvenhandError(
            f"There is no {clip(name)} in {file.name}. Expected: one of {', '.join(defined) or 'none: it defines nothing'}. "
            f"To do: {f'did you mean {near[0]}?' if near else 'name what the file defines.'}"
        )
    return known[name]


def load_file(file: Path) -> ModuleType:
    """The file as a module, run once for each content that it has had. Its folder can be imported from while it runs."""
    try:
        source = file.read_bytes()
    except OSError as error:
        raise EvenhandError(f"{file.name} cannot be read ({error.strerror}). Expected: a Python file. To do: check its path.") from error
    return _run(file, source)


def _run(file: Path, source: bytes) -> ModuleType:
    digest = hashlib.sha256(str(file.resolve()).encode() + source).hexdigest()[:12]
    name = f"{file.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(file.resolve())
    RAN[name] = file.resolve(), source
    sys.modules[name] = module  # dataclasses, and processes that unpickle, look a class up there
    sys.path.insert(0, str(file.resolve().parent))
    try:
        exec(compile(source, module.__file__, "exec", dont_inherit=True), vars(module))  # noqa: S102 - the user named the file for that
    except Exception as error:
        del sys.modules[name]
        line = next((f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == str(file.resolve())), None)
        place = f" at line {line}" if line else ""
        raise EvenhandError(
            f"{file.name} stops{place} ({type(error).__name__}: {clip(str(error))}). Expected: a file that runs. To do: mend it."
        ) from error
    finally:
        sys.path.remove(str(file.resolve().parent))
    return module


@dataclass(frozen=True)
class Files:
    """The files that parts came from, path → content. Unpickled, it runs them first, so that a process finds the classes of what it is given
    after it: also on a machine that does not have the files.
    """

    content: Mapping[str, bytes]

    def __reduce__(self) -> tuple[Callable[[Mapping[str, bytes]], Files], tuple[Mapping[str, bytes]]]:
        return _ran, (self.content,)


def _ran(content: Mapping[str, bytes]) -> Files:
    for path, source in content.items():
        _run(Path(path), source)
    return Files(content)


def files_of(parts: Sequence[Any]) -> Files:
    """Of all that `parts` are built from, the files that `load_file` ran."""
    modules = {home(n) for p in parts for n in _nodes(p)}
    return Files({str(path): source for path, source in (RAN[m] for m in sorted(modules) if m in RAN)})


def home(node: Any) -> str:
    """The module of an object's class, or of the class or function itself."""
    return str((node if inspect.isclass(node) or inspect.isfunction(node) else type(node)).__module__)


def built_in(node: Any) -> bool:
    """Whether it is of this package."""
    return home(node).split(".")[0] == "evenhand"


@contextmanager
def calling(expected: str, *parts: Any, quoted: bool = True) -> Iterator[None]:
    """Where parts may be from outside the package: what they raise, or what cannot be gone on with since they gave it, is an EvenhandError.

    It names the part as FILE:NAME, the exception and the line of the part's own file. Errors that name a mend already, a memory that is full and
    all errors where every part is built in stay as they are. expected: what such a part does. quoted: whether what the exception says is told as
    well; not of a part that reads people's texts, which it may hold.
    """
    try:
        yield
    except (EvenhandError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # a part that ends the process would end it with what looks like a verdict
        outside = [node for part_ in parts for node in _nodes(part_) if not built_in(node)]
        if not outside or "allocate memory" in str(error):
            raise
        own = {_file_of(node): node for node in reversed(outside)}
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in own]
        node = own[frames[-1].filename] if frames else outside[0]
        kind = node if inspect.isclass(node) or inspect.isfunction(node) else type(node)
        line = frames[-1].lineno if frames else node.__code__.co_firstlineno if inspect.isfunction(node) else None
        said = f": {clip(str(error), 200)}" if quoted else "; what it says is not shown, as it may hold a text"
        raise EvenhandError(
            f"{origin(kind)} fails{f' at line {line}' if line else ''} ({type(error).__name__}{said}). Expected: {expected}. To do: correct it there."
        ) from (error if quoted else None)


def _file_of(node: Any) -> str:
    """Of the code of a class or function, as tracebacks name it; "" = none."""
    if inspect.isfunction(node):
        return node.__code__.co_filename
    return str(getattr(sys.modules.get(home(node)), "__file__", None) or "")


def head_class(text: str) -> type:
    """The class of a head that `text` names outside the package."""
    found = part("heads", text)
    if not inspect.isclass(found):
        known = ", ".join(installed("heads")) or "none is installed"
        raise EvenhandError(f"There is no head {clip(text)}. Expected: a class, as ./FILE.py:NAME or one of: {known}. To do: name it.")
    return found


def origin(kind: type | FunctionType) -> str:
    """Where a class came from, without folders: "mine.py:MyHead", "package.module:MyHead"."""
    file = str(getattr(sys.modules.get(kind.__module__), "__file__", None) or "")
    ran = IN_HOUSE.search(kind.__module__) is not None
    return f"{Path(file).name if ran and file else kind.__module__}:{kind.__qualname__}"


def sources(node: Any) -> list[str]:
    """SHA-256 of the code of every class and function from outside the package that a method, head or metric is built from, each once.

    Where there is a file, of the whole file; else (a notebook) of the compiled code of the class or function itself. Files that it imports in
    turn are not looked at.
    """
    found = {}
    for part_ in _nodes(node):
        kind = part_ if inspect.isfunction(part_) or inspect.isclass(part_) else type(part_)
        if built_in(kind) or kind.__module__ == "builtins":
            continue
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        code = Path(file).read_bytes() if file and Path(file).is_file() else b"".join(_code(kind))
        found[f"{kind.__module__}.{kind.__qualname__}"] = hashlib.sha256(code).hexdigest()
    return sorted(set(found.values()))


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    if is_dataclass(node) and not inspect.isclass(node):
        for f in fields(node):
            value = getattr(node, f.name)
            if is_dataclass(value) or inspect.isfunction(value):
                yield from _nodes(value)


def _code(kind: Any) -> Iterator[bytes]:
    """Byte code and constants, which change with what is done and not with where it stands."""
    for value in [kind] if inspect.isfunction(kind) else vars(kind).values():
        value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if isinstance(value, FunctionType):
            yield from _compiled(value.__code__)


def _compiled(code: CodeType) -> Iterator[bytes]:
    yield code.co_code + repr(code.co_names).encode()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _compiled(constant)
        else:
            yield repr(constant).encode()
