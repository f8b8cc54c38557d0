"""A trained model as a folder that transformers, PEFT and vLLM read: one file a form, and what the forms share."""
