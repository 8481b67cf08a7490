"""Trains small language models, checks the plan first, watches itself, and never loses a step."""

__version__ = "0.1.0"
