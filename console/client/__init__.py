"""The agent's API as the console speaks it: every answer decoded, bounded and cleaned once."""
