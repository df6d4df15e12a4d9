"""Models that are trained here, from data that is made here: what the demo and the tests deploy."""
