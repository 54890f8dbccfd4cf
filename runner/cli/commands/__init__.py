"""One module a command: its arguments, what it calls, what it prints."""
