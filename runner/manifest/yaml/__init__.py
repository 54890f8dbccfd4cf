"""Reader of YAML text into nodes with positions."""
