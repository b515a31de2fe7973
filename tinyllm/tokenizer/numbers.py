"""Numbers of a tokenizer.json, such as log probabilities, as Hugging Face's reader understands them."""

import math

from tinyllm.errors import UserError


def exact_number(text):
    """Read a number of a tokenizer.json as Hugging Face's does, which is not always the nearest double.

    For `json.loads(parse_float=)`: Rust's serde_json takes the digits as a whole number and multiplies or
    divides it by a power of ten. Raises UserError where what is saved again would be read differently.
    """
    value = float(text)
    if repr(value) == text:  # as in every file that was written so, and quicker
        return value
    if not math.isfinite(value) or their_number(text) != their_number(repr(value)):
        raise UserError(f"the number {text[:40]} has more digits than can be kept")
    return value


def their_number(text):
    """The double that serde_json makes of a decimal number, whose last bit may be off."""
    number, _, exponent = text.lower().partition("e")
    whole, _, decimals = number.lstrip("-").partition(".")
    digits, power = int(whole or "0"), int(exponent or "0")
    for digit in decimals:  # as many as fit into 64 bits; the others do not count
        if digits * 10 + int(digit) >= 2**64:
            break
        digits = digits * 10 + int(digit)
        power -= 1
    if digits >= 2**64:
        raise UserError(f"the number {text[:40]} is too large")
    value = float(digits)
    while power < -308 and value:
        value /= 1e308
        power += 308
    if abs(power) <= 308:
        value = value / float(f"1e{-power}") if power < 0 else value * float(f"1e{power}")
    return -value if text.startswith("-") else value
