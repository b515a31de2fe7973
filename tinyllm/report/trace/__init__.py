"""Run one text through a model, record every op, and show the results.

`capture` records the ops of a forward pass, `examine` computes surprisal, attention, logit lens and FLOPs
from them, `page` shows the results, and `compare` finds where two captures first differ.
"""

from tinyllm.report.trace.capture import capture, observe
from tinyllm.report.trace.compare import compare, describe_differences
from tinyllm.report.trace.examine import examine, take_text

__all__ = ["capture", "compare", "describe_differences", "examine", "observe", "take_text"]
