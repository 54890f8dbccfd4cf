"""One module a verb: its arguments, what it calls, what it prints. The work is done below, in ``app``."""
