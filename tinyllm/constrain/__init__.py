"""Make texts fit a form, token by token: a regular expression or a JSON Schema."""
