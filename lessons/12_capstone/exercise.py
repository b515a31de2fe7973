"""Lesson 12. What a GPT trains on: your functions from lessons 4 to 9.

`python lesson.py` gathers them here for you; you may also paste them. Then run
`tinyllm check 12`.
"""
