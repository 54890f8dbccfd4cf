"""Commands, one module each: its arguments, what it calls, and its output."""
