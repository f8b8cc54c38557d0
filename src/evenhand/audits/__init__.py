"""Statistics of an audit: margins in, findings out. Knows no model and no text."""

from evenhand.audits.changes import compare
from evenhand.audits.examine import examine_model
from evenhand.audits.outcomes import Outcomes, outcomes_of
from evenhand.audits.stability import Stability, check_stability
from evenhand.audits.verdicts import check_requirements

__all__ = ["Outcomes", "Stability", "check_requirements", "check_stability", "compare", "examine_model", "outcomes_of"]
