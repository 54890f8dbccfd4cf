"""Copies and sidecars of delivered files: what is missing or stale, and the threads that make it.

Each job carries its recipes with the templates filled in (``core/copies.py: CopyRecipe``). ``Publisher.offer`` is
called after ``done`` is recorded and never waits; ``Publisher.finish`` makes at the end what is still missing or
stale, as ``runner copies`` does (``engine/maintenance/make_copies.py``). For one job, ``PublishStep`` reads the
original and compares its hash, ``files/copies.py: make_copies`` turns its bytes into those of the copies, and the
purchase's record gets a ``core/copies.py: CopyFile`` for each: path, hash, digest of the recipe, hash of the
original. Only then is the file renamed. ``CopyFile.replaces`` is the hash of the earlier copy, so that after a crash
between record and rename the file is known as ours. Any other file is left alone. A copy that fails is counted, and
never changes the state of a purchase.
"""
