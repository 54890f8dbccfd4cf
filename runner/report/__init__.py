"""Page of ``runner report``: the results of a batch as one HTML file for offline use.

``cards`` makes the card of each file or purchase, ``thumbnails`` reads the files, ``charts`` draws the charts, and
``page`` renders ``page.html`` with ``page.css`` and ``page.js``.

Nothing in a results log is trusted. Jinja2 escapes text. The data for the script is JSON in a block that the data
cannot close. The content security policy of the page forbids every script, style and request except its own.
"""
