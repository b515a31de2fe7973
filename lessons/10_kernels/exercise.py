"""Lesson 10. The exercise is in exercise.c, beside this file.

There is nothing to write here. A C compiler is all you need; `tinyllm check 10`
says so if there is none.
"""
