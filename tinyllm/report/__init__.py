"""Pages, charts and traces for people to look at."""
