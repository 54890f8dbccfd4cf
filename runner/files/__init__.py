"""Downloads, checks of media files, and the output folder."""
