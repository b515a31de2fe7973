"""Train assistants: reward models, preferences, and learning from rewards."""
