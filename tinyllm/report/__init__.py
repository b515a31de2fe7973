"""Show what a model does and how its training went: HTML pages, charts in the terminal, traces."""
