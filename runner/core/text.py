"""Characters that a text from elsewhere must not bring along.

They have a module of their own because ``runner --help`` needs them, and nothing else of the model.
"""

from __future__ import annotations

import re

DRIVES = r"\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""What makes a terminal do something, or a line read otherwise than it is written; for a class of characters."""
CONTROL = re.compile(f"[\n{DRIVES}]+")
"""That, and what ends a line."""
