"""Statistics of gaps between groups of texts: means over blocks, permutations, deals of draws, Holm, changes, verdicts."""
