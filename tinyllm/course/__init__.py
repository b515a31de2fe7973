"""Teach with lessons, check a student's code, and grade it. Only the command line imports this package.

A student's code never runs in the process that checks or grades it. `workers` and `processes` start other
processes and talk with them by `protocol`; `fork_server` and `sandbox` run in these processes, and
`driver.c`, which calls a student's C functions.
"""
