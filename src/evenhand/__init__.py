"""evenhand: find whom a reward model serves worse, train one that serves them better, and report it.

    result = evenhand.fit("choices.jsonl", "pafo", group_by="country")
    result.save("out")
    evenhand.audit("choices.jsonl", scores=("reward_chosen", "reward_rejected")).save("audit")
    evenhand.score("out/model", "new.jsonl", history="choices.jsonl").to_frame()
    evenhand.RewardModel.load("out/model").score(history, prompts, responses)
    reward = evenhand.reward_function("out/model", "choices.jsonl")  # for TRL's trainers

Names are imported when first used: `import evenhand` alone loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from evenhand import testing
    from evenhand.audits.metrics import Metric
    from evenhand.core import DataError, EvenhandError, PreferenceData, Tuning
    from evenhand.data.load import load
    from evenhand.encode.backbone import Backbone
    from evenhand.encode.hub_reward import HubRewardModel
    from evenhand.report import Report
    from evenhand.serve.reward_model import RewardModel
    from evenhand.serve.trl_reward import reward_function
    from evenhand.texts.grid import Grid
    from evenhand.workflows.align import align
    from evenhand.workflows.audit import audit
    from evenhand.workflows.audit_shards import audit_merge, audit_partial
    from evenhand.workflows.audit_text import audit_text
    from evenhand.workflows.certify import certify
    from evenhand.workflows.check import check
    from evenhand.workflows.choose import choose
    from evenhand.workflows.compare import compare
    from evenhand.workflows.diff import diff
    from evenhand.workflows.encoding import Encoding
    from evenhand.workflows.events import with_events
    from evenhand.workflows.examples import ShowExamples
    from evenhand.workflows.export import Export, export
    from evenhand.workflows.fit import Fit, fit
    from evenhand.workflows.generate import generate
    from evenhand.workflows.grid import grid
    from evenhand.workflows.grouping import Grouping
    from evenhand.workflows.score import Scored, score
    from evenhand.workflows.select import select
    from evenhand.workflows.sweep import sweep
    from evenhand.workflows.tracking import Tracker
    from evenhand.workflows.transfer import transfer
    from evenhand.workflows.verify import verify
    from evenhand.workflows.view import view

__all__ = [
    "Backbone",
    "DataError",
    "Encoding",
    "EvenhandError",
    "Export",
    "Fit",
    "Grid",
    "Grouping",
    "HubRewardModel",
    "Metric",
    "PreferenceData",
    "Report",
    "RewardModel",
    "Scored",
    "ShowExamples",
    "Tracker",
    "Tuning",
    "__version__",
    "align",
    "audit",
    "audit_merge",
    "audit_partial",
    "audit_text",
    "certify",
    "check",
    "choose",
    "compare",
    "diff",
    "export",
    "fit",
    "generate",
    "grid",
    "load",
    "reward_function",
    "score",
    "select",
    "sweep",
    "testing",
    "transfer",
    "verify",
    "view",
    "with_events",
]

_HOMES = {
    "Backbone": "encode.backbone",
    "DataError": "core",
    "Encoding": "workflows.encoding",
    "EvenhandError": "core",
    "Export": "workflows.export",
    "Fit": "workflows.fit",
    "Grid": "texts.grid",
    "Grouping": "workflows.grouping",
    "HubRewardModel": "encode.hub_reward",
    "Metric": "audits.metrics",
    "PreferenceData": "core",
    "Report": "report",
    "RewardModel": "serve.reward_model",
    "Scored": "workflows.score",
    "ShowExamples": "workflows.examples",
    "Tracker": "workflows.tracking",
    "Tuning": "core",
    "align": "workflows.align",
    "audit": "workflows.audit",
    "audit_merge": "workflows.audit_shards",
    "audit_partial": "workflows.audit_shards",
    "audit_text": "workflows.audit_text",
    "certify": "workflows.certify",
    "check": "workflows.check",
    "choose": "workflows.choose",
    "compare": "workflows.compare",
    "diff": "workflows.diff",
    "export": "workflows.export",
    "fit": "workflows.fit",
    "generate": "workflows.generate",
    "grid": "workflows.grid",
    "load": "data.load",
    "reward_function": "serve.trl_reward",
    "score": "workflows.score",
    "select": "workflows.select",
    "sweep": "workflows.sweep",
    "transfer": "workflows.transfer",
    "verify": "workflows.verify",
    "view": "workflows.view",
    "with_events": "workflows.events",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("evenhand")
    if name == "testing":
        return importlib.import_module("evenhand.testing")
    if name not in _HOMES:
        raise AttributeError(f"module 'evenhand' has no attribute '{name}'")
    return getattr(importlib.import_module(f"evenhand.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
