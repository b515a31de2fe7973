"""What judges an op: cases that break numeric code, one `check` for every implementation, and known mistakes.

Nothing in tinyllm imports this package but `course`, so that nobody waits for hypothesis who only trains.
"""

from tinyllm.testing.cases import CASES
from tinyllm.testing.check import check
from tinyllm.testing.gradcheck import gradcheck
from tinyllm.testing.mistake import diagnose
from tinyllm.testing.mistakes import MISTAKES

__all__ = ["CASES", "MISTAKES", "check", "diagnose", "gradcheck"]
