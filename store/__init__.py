"""Bytes and rows that survive a power cut. Knows neither SSH nor screens nor nodes."""
