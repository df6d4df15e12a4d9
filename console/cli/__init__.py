"""The command line: one group of verbs a file, on the same core as the app."""
