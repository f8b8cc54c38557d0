"""Where curves and figures of trainings can go: one file a library. They know nothing of trainings; `workflows/tracking.py` says what they are told."""
