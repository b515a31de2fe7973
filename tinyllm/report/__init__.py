"""Show what happened: HTML pages, charts in the terminal, and traces of a model."""
