"""A fleet in memory that always says the same: what pictures and screen tests are made of."""
