"""Serve models over HTTP with the fields and answers of OpenAI's API: see docs/serve.md."""
