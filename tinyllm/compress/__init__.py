"""Make trained models smaller."""
