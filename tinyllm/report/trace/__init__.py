"""Seeing a model think: one text goes through it, every op is written down, and a page shows what was found.

`record` listens to the ops of a forward pass, `examine` draws from it what can be shown (surprisal,
attention, logit lens, norms, FLOPs, KV cache), `page` and `terminal` show it, and `compare` sets two
recordings side by side and says where they first differ.
"""

# ruff: noqa: F401  (what is imported here is the package's public face)

from tinyllm.report.trace.compare import Difference, compare
from tinyllm.report.trace.examine import Trace, examine, take_text
from tinyllm.report.trace.record import Step, record
