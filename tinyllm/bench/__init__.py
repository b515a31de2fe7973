"""Measure the speed and memory of ops, training and generation on this machine."""
