"""Lessons, the checker and the grader: everything below may be used here, and nothing below knows it.

A student's code never runs in this process. `workers` and `processes` start it in others and talk with them
by `protocol`; `fork_server`, `sandbox` and `guard_pages` are the other side.
"""
