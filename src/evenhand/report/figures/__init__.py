"""The figures of reports: numbers with intervals in, SVG out; none knows a kind of report."""
