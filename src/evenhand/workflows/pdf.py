"""A saved page as PDF, printed by a Chromium of this machine, which gets neither a network nor the user's own profile."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from evenhand import ranks, writing
from evenhand.core import EvenhandError

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KIND = "page as PDF"
LONGEST = 180  # seconds
FLAGS = (
    "--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check", "--disable-extensions", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--no-pings", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
)  # fmt: skip


def program() -> str:
    """The browser that prints. Raises EvenhandError where there is none."""
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        raise EvenhandError(
            f"Found no browser that prints (--pdf). Expected: {', '.join(PROGRAMS[:-1])} or {PROGRAMS[-1]} on PATH. To do: install Chromium, or "
            "leave --pdf out and print the page from any browser."
        )
    return found


def check(page: Path) -> None:
    """Before the work: whether there is a browser, and a place beside the page. Raises EvenhandError."""
    program()
    writing.check(page.parent, [page.with_suffix(".pdf").name], KIND)


def beside(page: Path, wanted: bool) -> Path:
    """The page's path; its PDF lies beside it where that is wanted, and an old one does not outlive its page where not.

    Raises EvenhandError where no browser is there, or it does not print.
    """
    name = page.with_suffix(".pdf").name
    if wanted and ranks.first():
        writing.write(page.parent, {name: printed(page)}, KIND)
    elif not wanted:
        writing.remove(page.parent, name, KIND)
    return page


def printed(page: Path) -> bytes:
    """The PDF of a page that this package wrote: it has no script, so that root, whom Chromium gives no sandbox, loses nothing by that."""
    with tempfile.TemporaryDirectory(prefix="evenhand-pdf-", ignore_cleanup_errors=True) as folder:
        out = Path(folder) / "page.pdf"
        is_root = os.name == "posix" and os.geteuid() == 0
        place = [f"--user-data-dir={folder}/profile", f"--print-to-pdf={out}", page.resolve().as_uri()]
        command = [program(), *FLAGS, *(["--no-sandbox"] if is_root else []), *place]
        try:
            done = subprocess.run(command, capture_output=True, timeout=LONGEST, stdin=subprocess.DEVNULL)  # noqa: S603 - a browser of PATH and our own page
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(command[0], type(error).__name__) from error
        if done.returncode or not out.is_file():
            told = [line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()]
            raise _failed(command[0], told[-1][:200] if told else f"exit code {done.returncode}")
        return out.read_bytes()


def _failed(browser: str, why: str) -> EvenhandError:
    return EvenhandError(
        f"Found that {Path(browser).name} prints no PDF ({why}). Expected: report.pdf. To do: the page itself is saved; print it from a browser."
    )
