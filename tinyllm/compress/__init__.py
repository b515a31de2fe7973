"""Make trained models smaller: take out weights, heads and layers, or train a small model on a large one."""
