"""The engine: carries a batch out."""
