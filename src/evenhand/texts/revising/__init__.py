"""Rules that reword texts without any model: how sure a text is, how it appeals, how forceful its verbs are. `rules.py` names them."""
