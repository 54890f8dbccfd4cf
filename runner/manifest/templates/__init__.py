"""Templates in the texts of jobs: Jinja2 in a sandbox."""
