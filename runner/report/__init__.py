"""Page of ``runner report``: the pictures of a batch as one HTML file to choose with, for offline use.

``products`` puts the jobs of a product together, ``cards`` makes the card of each file or purchase, ``thumbnails``
reads the files, ``older`` finds what they replaced, ``needs`` lists the causes that need a person, ``charts`` draws the
figures. ``page_data`` makes the data for the page's script, and ``page`` renders ``assets/page.html`` with the modules
of the script. ``selection`` reads what the page saves, and ``contact_sheet`` makes a page to print of it.

The page is a few elements and one block of JSON. Its script draws what is near the screen:

    data ── search ── layout ── grid          marks ── selection          zoom ── viewer          keys ── main

Nothing in a results log is trusted. Jinja2 escapes text. The data for the script is JSON in a block that the data
cannot close, and the script sets it as text. The content security policy of the page forbids every script, style and
request except its own.
"""
