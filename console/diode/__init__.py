"""Nodes behind a data diode: their signed reports come in as files, and nothing goes back."""
