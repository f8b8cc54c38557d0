"""What writes texts: a language model on this machine, or an endpoint. One file each; `generator.py` says what both are."""
