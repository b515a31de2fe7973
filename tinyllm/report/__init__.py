"""Pages, charts and traces: what a person looks at."""
