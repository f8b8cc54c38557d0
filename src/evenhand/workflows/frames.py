"""Results as data frames, for those who have pandas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evenhand.core import EvenhandError

if TYPE_CHECKING:
    from pandas import DataFrame


def frame(columns: Mapping[str, Sequence[Any]]) -> DataFrame:
    """Columns → a pandas data frame. EvenhandError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise EvenhandError(
            "pandas is not installed. Expected: pandas, for data frames. To do: pip install 'evenhand[frames]', or use to_dict()."
        ) from None
    return pandas.DataFrame(dict(columns))
