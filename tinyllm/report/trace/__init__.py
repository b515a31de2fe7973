"""Traces: send one text through a model, note every op, and show what was found.

`capture` notes the ops of a forward pass, `examine` derives what can be shown (surprisal, attention, logit
lens, norms, FLOPs, KV cache), `page` and `terminal` show it, and `compare` sets two captures side by side
and says where they first differ.
"""

# ruff: noqa: F401  (what is imported here is the package's public face)

from tinyllm.report.trace.capture import Step, capture
from tinyllm.report.trace.compare import Difference, compare
from tinyllm.report.trace.examine import Trace, examine, take_text
