"""The operator's seat: the app, its commands and keys, and what its screens ask for."""
