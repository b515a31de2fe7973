"""Run one text through a model, record every op, and show the results.

`capture` records the ops of a forward pass, `examine` computes surprisal, attention, logit lens, norms, FLOPs
and the KV cache from them, `page` shows the results, and `compare` finds where two captures first differ.
"""

# ruff: noqa: F401  (these imports are the public names of the package)

from tinyllm.report.trace.capture import TracedCall, capture
from tinyllm.report.trace.compare import Difference, compare
from tinyllm.report.trace.examine import Trace, examine, take_text
