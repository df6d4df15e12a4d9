"""The operator's console: the application and the same verbs as a command line."""
