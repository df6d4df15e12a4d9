"""Nine sensors of the UCI Statlog (Shuttle) data set."""
