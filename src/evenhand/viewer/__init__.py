"""A local web page over many runs: a table of them, each one's report, two side by side, and the way from a group to its users and pairs."""
