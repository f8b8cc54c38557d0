"""Texts for many audiences: grids of prompts, texts and their revisions, audits of what differs between groups, a gate, selection,
training, choice.
"""
