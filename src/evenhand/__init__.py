"""evenhand: find whom a reward model serves worse, train one that serves them better, and report it.

    data = evenhand.load("choices.jsonl")
    result = evenhand.fit(data, "pafo")
    result.save("out")
    evenhand.audit(data, scores=("reward_chosen", "reward_rejected")).save("audit")
    evenhand.RewardModel.load("out/model").score(history, prompts, responses)

Names are imported when first used: `import evenhand` alone loads neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evenhand.core import DataError, EvenhandError, PreferenceData
    from evenhand.data.load import load
    from evenhand.report import Report
    from evenhand.report.certificate import CertificateReport
    from evenhand.report.comparison import ComparisonReport
    from evenhand.report.transfer import TransferReport
    from evenhand.serve.reward_model import RewardModel
    from evenhand.workflows.audit import audit
    from evenhand.workflows.certify import certify
    from evenhand.workflows.check import check
    from evenhand.workflows.compare import compare
    from evenhand.workflows.compared import with_events
    from evenhand.workflows.fit import Fit, fit
    from evenhand.workflows.grouping import Grouping
    from evenhand.workflows.prepare import Encoding
    from evenhand.workflows.sweep import sweep
    from evenhand.workflows.transfer import transfer
    from evenhand.workflows.verify import verify

__all__ = [
    "CertificateReport",
    "ComparisonReport",
    "DataError",
    "Encoding",
    "EvenhandError",
    "Fit",
    "Grouping",
    "PreferenceData",
    "Report",
    "RewardModel",
    "TransferReport",
    "audit",
    "certify",
    "check",
    "compare",
    "fit",
    "load",
    "sweep",
    "transfer",
    "verify",
    "with_events",
]

_HOMES = {
    "CertificateReport": "report.certificate",
    "DataError": "core",
    "Encoding": "workflows.prepare",
    "EvenhandError": "core",
    "Fit": "workflows.fit",
    "Grouping": "workflows.grouping",
    "PreferenceData": "core",
    "Report": "report",
    "RewardModel": "serve.reward_model",
    "ComparisonReport": "report.comparison",
    "TransferReport": "report.transfer",
    "audit": "workflows.audit",
    "certify": "workflows.certify",
    "check": "workflows.check",
    "compare": "workflows.compare",
    "fit": "workflows.fit",
    "load": "data.load",
    "sweep": "workflows.sweep",
    "transfer": "workflows.transfer",
    "verify": "workflows.verify",
    "with_events": "workflows.compared",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'evenhand' has no attribute '{name}'")
    return getattr(importlib.import_module(f"evenhand.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
