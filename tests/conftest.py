"""One thread: two threads on two busy cores are many times slower. Compiled files are kept: the suite starts a hundred processes of evenhand."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import chromium
import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # other people's trainers report that they were used


def pytest_collection_finish() -> None:
    """What is loaded by now stays loaded: the garbage collector need not walk through it again and again."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # every 700 objects, as is the default, took a tenth of the suite


@pytest.fixture(scope="session")
def sample_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small table of simulated users, as a user would bring it."""
    from evenhand.data.simulate import write_sample

    return write_sample(tmp_path_factory.mktemp("data") / "choices.jsonl", users=80, minority=0.25, pairs_per_user=40)


@pytest.fixture(scope="module")
def browser() -> Iterator[chromium.Browser]:
    """Chromium with one page open; tests that need it are skipped where there is none."""
    if chromium.PROGRAM is None:
        pytest.skip("Chromium is not installed")
    browser = chromium.Browser()
    yield browser
    browser.close()
