"""From candidates to texts: the gate, selection of whole blocks, what it is worth, and choice among runs."""
