"""Feeds: tables, JSON, lines of text, spreadsheets and pictures, read row by row."""
