"""The page that ``runner report`` writes: what a batch brought, to be looked through offline.

Values in, one HTML file out: ``cards`` makes what is shown of each purchase, ``thumbnails`` looks at the files,
``plots`` draws, ``page`` puts it together, and ``page.html``, ``page.css`` and ``page.js`` are the page itself. Nothing
in a results manifest is trusted: text is escaped by Jinja2, what the script reads is JSON in a block that cannot be
left, and the page forbids itself every script, style and request but its own.
"""
