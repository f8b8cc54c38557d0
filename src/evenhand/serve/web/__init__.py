"""A saved model behind HTTP: the fields of vLLM's and OpenRLHF's reward servers and of our own, one queue, one thread that scores."""
