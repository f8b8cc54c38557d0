"""One thread: two threads on two busy cores are many times slower. Compiled files are kept: the suite starts a hundred processes of evenhand."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import chromium
import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # other people's trainers report that they were used
os.environ["DISABLE_MLFLOW_INTEGRATION"] = (
    "TRUE"  # nor need they load a tracker because it is installed, for a second and more in each process
)


def threads_anew() -> None:
    """A copy of this process has none of torch's threads. torch makes them anew at the first thread that computes, and a second one that comes
    meanwhile finds none and fails (pthreadpool-cpp.cc: `release` before `reset`), as once did one of those in which transformers reads weights."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, whose children would not hear it either
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=threads_anew)

frozen_modules = 0  # as many were there when objects were last put out of the garbage collector's sight

# Files of ten seconds and more, first, so that processes end together. That of Ray comes after that of this machine's processes, which start
# slowly beside Ray, and after that of ranks, which are copies of a process and must be of one in which Ray never ran.
LONGEST = (
    "test_engine_here", "test_docs", "test_methods_contract", "test_frontier", "test_comparisons", "test_cli", "test_workflows", "test_tuned",
    "test_transfer", "test_faro", "test_encode", "test_report_comparison", "test_serve_web", "test_certify_workflow", "test_view",
    "test_checkpoint", "test_writing", "test_report_browser", "test_controls",
    "test_ranks", "test_engines", "test_backbone_contract", "test_backbone_workflows", "test_inputs", "test_export", "test_notebooks",
    "test_text_align", "test_text_generate", "test_trackers",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files without a language model come before those with one, which leave a process so large that it is slowly copied; that of Ray between.
    Within a file, and among all other files, the order stays."""
    last = {item.path for item in items if item.get_closest_marker("lm")} | {
        item.path for item in items if item.path.stem == "test_engines"
    }
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (item.path in last, place.get(item.path.stem, len(LONGEST))))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is loaded by the end of it stays loaded: the garbage collector need not walk through it again and again."""
    global frozen_modules
    gc.disable()
    found = yield
    frozen_modules = len(sys.modules)
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # every 700 objects, as is the default, took a tenth of the suite
    gc.enable()
    return found


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Nor through what a test has loaded since: every training of transformers begins with a collection, which took longer than its steps."""
    global frozen_modules
    if len(sys.modules) > frozen_modules + 100:
        frozen_modules = len(sys.modules)
        gc.collect()
        gc.freeze()


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
