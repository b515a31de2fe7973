"""Run tests of the tokenizer, the pool and the threads under sanitizers: a short verify_sanitizers.py."""

import shutil

import pytest
from native import CAN_COMPILE
from verify_sanitizers import SANITIZERS, drive, report, runtime

from tinyllm.ops.registry import _compiled

NEEDED = _compiled is not None and CAN_COMPILE and shutil.which("setarch")


@pytest.mark.skipif(not NEEDED, reason="there is no C compiler, no Linux, or the kernels are not built")
@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_the_services_get_no_report(sanitizer):
    if runtime(sanitizer) is None:
        pytest.skip(f"this compiler has no sanitizer for {sanitizer}")
    assert drive(sanitizer) == ""


LEAK = "ERROR: LeakSanitizer\n\nDirect leak of 8 byte(s) in 1 object(s) allocated from:\n    #1 0x5 in {}:7"
THEIRS, OURS = LEAK.format("PyMem_New Objects/obmalloc.c"), LEAK.format("grow csrc/bpe/vocab.c")


@pytest.mark.parametrize("code, text, clean", [
    (0, "", True), (99, THEIRS, True), (99, f"{THEIRS}\n\n{OURS}", False), (99, f"FAILED\n{THEIRS}", False),
    (99, "ERROR: AddressSanitizer", False), (66, "", False), (-11, "", False),
])
def test_only_leaks_of_the_interpreter_are_forgiven(code, text, clean):
    assert (report(code, f"... [100%]\n{text}") == "") is clean
    assert code == 0 or report(code, f"..\n{text}")
