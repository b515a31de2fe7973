"""Read a JSON Schema as an expression of a grammar: each text that fits is JSON, and valid under the schema.

The subset, in which valid JSON may have other forms than those written (other orders of keys, other spaces):

| type | keywords |
|---|---|
| any | `type` (one or a list), `enum`, `const`, `anyOf`, `allOf` with one schema, `$ref` to `#...`, true |
| string | `minLength`, `maxLength`; or `pattern`, as tinyllm/constrain/regex.py describes |
| integer | `minimum` with `maximum`, at most 1,000 apart |
| number, boolean, null | |
| array | `items`, `minItems`, `maxItems` |
| object | `properties`, `required`, `additionalProperties` |

An object has the keys of `properties` in their order, and others only if there are none. Notes for people,
such as `title`, are ignored. Every other keyword raises UserError, because what it says would not be kept.
"""

import json
from math import inf
from typing import Any

from tinyllm.constrain.expressions import ANY, EMPTY, NOTHING, Expressions, Ranges, complement
from tinyllm.constrain.regex import read_regex
from tinyllm.errors import UserError

NOTES = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly",
         "$schema", "$id", "$comment", "$defs", "definitions"}
KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"}, "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern"}, "integer": {"minimum", "maximum"},
}
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
         "boolean": bool, "null": type(None)}
INTEGER = r"-?(0|[1-9]\d*)"
PATTERNS = {"number": INTEGER + r"(\.\d+)?([eE][+-]?\d{1,2})?", "boolean": "true|false", "null": "null"}
ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"} | {
    chr(c): f"\\u{c:04x}" for c in [*range(32), 127] if chr(c) not in "\n\r\t\b\f"}
DEEPEST, MOST = 32, 1_000
LONGEST = 10**6  # a larger count is the same as this: no model writes as much


def read_schema(grammar: Expressions, schema: Any) -> int:
    """Return the expression for JSON that is valid under a schema, a value as `json.loads` returns it.

    Raises UserError for a keyword or a value that is not in the subset.
    """
    return Reader(grammar, schema).read(schema)


class Reader:
    """Make expressions from the parts of one schema."""

    def __init__(self, grammar: Expressions, root: Any):
        self.grammar, self.root, self.deep = grammar, root, 0
        self.any_character = self._character(ANY)
        self.comma, self.colon = (grammar.either(*map(grammar.text, (c, c + " "))) for c in ",:")

    def read(self, schema: Any) -> int:
        """Return the expression for a schema."""
        if schema is True or schema == {}:
            return self._rule("", {"type": [*TYPES]})
        if not isinstance(schema, dict):
            raise UserError(f"a schema is an object or true, not {str(schema)[:40]!r}")
        self.deep += 1
        if self.deep > DEEPEST:
            raise UserError(f"the schema is nested more than {DEEPEST} deep")
        found = self._read(schema, schema.keys() - NOTES)
        self.deep -= 1
        return found

    def _read(self, schema, keywords):
        for name in ("$ref", "anyOf", "allOf"):
            if name in keywords:
                self._only(keywords, {name})
                return self._ref(schema[name]) if name == "$ref" else self._several(name, schema[name])
        types = schema.get("type", [t for t in KEYWORDS if keywords & KEYWORDS[t]][:1] or [*TYPES])
        types = types if isinstance(types, list) else [types]
        if unknown := [t for t in types if t not in (*TYPES,)]:
            raise UserError(f"there is no type {str(unknown[0])[:40]!r}; there are {', '.join(TYPES)}")
        if {"enum", "const"} & keywords:
            self._only(keywords, {"type", "enum" if "enum" in keywords else "const"})
            values = schema.get("enum", [schema.get("const")])
            if not isinstance(values, list):
                raise UserError("enum takes a list of values")
            return self.grammar.either(*(self._text(v) for v in values if any(_is(v, t) for t in types)))
        known = {"type"}.union(*(KEYWORDS.get(t, ()) for t in types))
        self._only(keywords, known - (KEYWORDS["integer"] if "number" in types else set()))
        return self.grammar.either(*(
            read_regex(self.grammar, PATTERNS[t]) if t in PATTERNS else getattr(self, f"_{t}")(schema)
            for t in types))

    def _only(self, keywords, known):
        if unknown := sorted(keywords - known):
            raise UserError(f"the keyword {unknown[0][:40]!r} is not supported here; supported are "
                            f"{', '.join(sorted(known))}")

    def _text(self, value):
        try:
            return self.grammar.text(json.dumps(value, ensure_ascii=False, allow_nan=False))
        except ValueError as error:  # half a character, or no number
            raise UserError(f"{str(value)[:40]!a} cannot be written as JSON: {error}") from None

    def _rule(self, name, schema):
        """Return the rule of a name, which is read from the schema when it is first met."""
        if name not in self.grammar.rules:
            self.grammar.rules[name] = 0
            self.grammar.rules[name] = self.read(schema)
        return self.grammar.rule(name)

    def _ref(self, pointer):
        found = self.root
        if not isinstance(pointer, str) or pointer[:1] != "#":
            raise UserError(f"$ref must be a place here, like '#/$defs/name', not {str(pointer)[:40]!r}")
        for part in filter(None, pointer[1:].split("/")):
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or part not in found:
                raise UserError(f"$ref {pointer[:40]!r} points to nothing: there is no {part[:40]!r}")
            found = found[part]
        return self._rule(pointer, found)

    def _several(self, name, schemas):
        if not isinstance(schemas, list) or not schemas or (name == "allOf" and len(schemas) > 1):
            raise UserError("anyOf takes a list of schemas, and allOf a list with one")
        return self.grammar.either(*map(self.read, schemas))

    def _count(self, schema, name, default):
        value = schema.get(name, default)
        if value is not default and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise UserError(f"{name} must be a whole number from 0, not {str(value)[:40]!r}")
        return min(value, LONGEST)

    def _string(self, schema):
        low, high = self._count(schema, "minLength", 0), self._count(schema, "maxLength", inf)
        inside = self.grammar.repeat(self.any_character, low, high)
        if "pattern" in schema:
            self._only({*schema} & KEYWORDS["string"], {"pattern"})
            if not isinstance(schema["pattern"], str):
                raise UserError(f"pattern must be a text, not {str(schema['pattern'])[:40]!r}")
            inside = read_regex(self.grammar, schema["pattern"], self._character, whole=False)
        quote = self.grammar.text('"')
        return self.grammar.sequence(quote, inside, quote)

    def _character(self, ranges: Ranges):
        """Return the expression for one character of the ranges, in a JSON string."""
        inside = [c for c in ESCAPES if any(low <= ord(c) <= high for low, high in ranges)]
        raw = complement([*complement(ranges), *((ord(c), ord(c)) for c in ESCAPES)])
        escaped = (self.grammar.text(ESCAPES[c]) for c in inside)
        return self.grammar.either(self.grammar.character(raw), *escaped)

    def _integer(self, schema):
        low, high = schema.get("minimum", 0), schema.get("maximum", 0)
        if not {"minimum", "maximum"} & schema.keys():
            return read_regex(self.grammar, INTEGER)
        both = {"minimum", "maximum"} <= schema.keys() and {type(low), type(high)} == {int}
        if not both or high - low > MOST:
            raise UserError(f"an integer has both minimum and maximum, at most {MOST} apart, or none of them")
        return self.grammar.either(*(self.grammar.text(str(i)) for i in range(low, high + 1)))

    def _list(self, item, low, high, brackets):
        """Return the expression for items between brackets, with commas."""
        g = self.grammar
        more = g.sequence(item, g.repeat(g.sequence(self.comma, item), max(low - 1, 0), high - 1))
        items = g.either(more if high else NOTHING, EMPTY if low == 0 else NOTHING)
        return g.sequence(g.text(brackets[0]), items, g.text(brackets[1]))

    def _array(self, schema):
        low, high = self._count(schema, "minItems", 0), self._count(schema, "maxItems", inf)
        return self._list(self.read(schema.get("items", True)), low, high, "[]") if low <= high else NOTHING

    def _object(self, schema):
        g = self.grammar
        properties, required = schema.get("properties", {}), schema.get("required", [])
        others = schema.get("additionalProperties", True)
        named = isinstance(required, list) and all(isinstance(name, str) for name in required)
        if not isinstance(properties, dict) or not named:
            raise UserError("properties takes an object of schemas, and required a list of names")
        missing = [name for name in required if name not in properties and others is not False]
        properties = properties | dict.fromkeys(missing, others)
        if not properties:
            if required or others is False:
                return NOTHING if required else g.text("{}")
            key = g.sequence(self._string({}), self.colon)
            return self._list(g.sequence(key, self.read(others)), 0, inf, "{}")
        # From the last property to the first: what may come behind others, and what may come first.
        later = first = g.text("}")
        if not {*required} <= properties.keys():
            return NOTHING
        for name, value in reversed(properties.items()):
            pair = g.sequence(self._text(name), self.colon, self.read(value))
            optional = name not in required
            first = g.either(g.sequence(pair, later), first if optional else NOTHING)
            later = g.either(g.sequence(self.comma, pair, later), later if optional else NOTHING)
        return g.sequence(g.text("{"), first)


def _is(value, name):
    whole = name == "integer" and isinstance(value, float) and value.is_integer()
    return whole or (isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool)))
