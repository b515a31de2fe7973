"""Measurements: how fast this machine runs the ops, trains and generates, and how much memory that takes."""
