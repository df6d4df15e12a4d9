"""The incident capsule: some minutes of some nodes in one signed file, which opens read-only in the same app."""
