"""Templates in the texts of jobs: Jinja2 in a sandbox.

``compiler`` parses a text, refuses everything but expressions, ``{% if %}`` and ``{% raw %}``, and collects the names
that the text uses. ``template`` compares these names with the columns of the feed. ``sandbox`` evaluates the compiled
text over a row: no attributes or methods of Python objects, no functions, and arithmetic on numbers only. ``filters``
has all filters, ``values`` prints values. Nothing loops, and no step produces more than 100,000 characters, so the
length of a template bounds its work.

A prompt that renders differently is a changed input and would be bought again. ``tests/manifest/renderings.jsonl``
has a thousand templates and their texts, and every change of the engine must keep them. This is the reason for
Jinja2: with minijinja 3.1, our filters and its output hook, 199 of 10,000 random templates printed another text
(``1e+16``, ``7 % -4``, ``~`` with true), and 494 that are refused here printed one. Its operators cannot be replaced,
so that a cell ``20``, which is text, is silently greater than 100. A template could also call the methods of lists
and mappings, and empty its own row.
"""
