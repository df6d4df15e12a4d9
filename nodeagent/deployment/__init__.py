"""Bundles on this node: staged, verified, rehearsed, on trial, committed or rolled back; and their bindings."""
