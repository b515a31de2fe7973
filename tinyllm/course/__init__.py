"""Lessons, the checker and the grader: everything below may be used here, and nothing below knows it.

A student's code never runs in this process. `wire` carries values to a worker and back, `zygote` and
`sandbox` are the worker's side, `workers` and `launch` are ours.
"""
