"""Show what a model does and how its training went: HTML pages, tables for the terminal, traces."""
