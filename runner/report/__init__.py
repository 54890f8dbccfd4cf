"""Page of ``runner report``: the results of a batch as one HTML file to look through offline.

``cards`` makes what is shown of each purchase, ``thumbnails`` looks at the files, ``charts`` draws, ``page`` puts all
of it into ``page.html`` with ``page.css`` and ``page.js``. Nothing in a results log is trusted: Jinja2 escapes text,
the script's data is JSON in a block that cannot be left, and the page forbids every script, style and request but its
own.
"""
