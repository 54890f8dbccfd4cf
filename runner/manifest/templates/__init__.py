"""Templates in job texts: Jinja2 in a sandbox."""
