"""Values, errors, the clock and small helpers that every package may use."""
