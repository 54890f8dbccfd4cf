"""Feeds: CSV, TSV and JSON Lines files, read row by row."""
