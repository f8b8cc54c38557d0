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
    from evenhand.jobs.audit import audit
    from evenhand.jobs.certify import certify
    from evenhand.jobs.check import check
    from evenhand.jobs.compare import compare
    from evenhand.jobs.compared import with_events
    from evenhand.jobs.fit import Fit, fit
    from evenhand.jobs.grouping import Grouping
    from evenhand.jobs.prepare import Encoding
    from evenhand.jobs.sweep import sweep
    from evenhand.jobs.transfer import transfer
    from evenhand.jobs.verify import verify
    from evenhand.report.certificate import CertificateReport
    from evenhand.report.report import Report
    from evenhand.report.standings import StandingsReport
    from evenhand.report.transfer import TransferReport
    from evenhand.serve.reward_model import RewardModel

__all__ = [
    "CertificateReport",
    "DataError",
    "Encoding",
    "EvenhandError",
    "Fit",
    "Grouping",
    "PreferenceData",
    "Report",
    "RewardModel",
    "StandingsReport",
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
    "Encoding": "jobs.prepare",
    "EvenhandError": "core",
    "Fit": "jobs.fit",
    "Grouping": "jobs.grouping",
    "PreferenceData": "core",
    "Report": "report.report",
    "RewardModel": "serve.reward_model",
    "StandingsReport": "report.standings",
    "TransferReport": "report.transfer",
    "audit": "jobs.audit",
    "certify": "jobs.certify",
    "check": "jobs.check",
    "compare": "jobs.compare",
    "fit": "jobs.fit",
    "load": "data.load",
    "sweep": "jobs.sweep",
    "transfer": "jobs.transfer",
    "verify": "jobs.verify",
    "with_events": "jobs.compared",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'evenhand' has no attribute '{name}'")
    return getattr(importlib.import_module(f"evenhand.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
