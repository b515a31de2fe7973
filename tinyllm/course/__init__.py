"""Lessons, the checker and the grader; in tinyllm only the command line imports this package.

The code of a student who is checked or graded never runs in this process. `workers` and `processes` start
other processes and talk with them by `protocol`; `fork_server`, `sandbox` and `guard_pages` run in those.
"""
