"""Make texts fit a form, token by token: choices, a regular expression, or a JSON Schema."""
