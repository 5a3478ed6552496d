#!/usr/bin/python3
"""fits_schema.py SCHEMA: each line of stdin (or all of it, with --whole) is JSON that the schema describes; of JSON Schema what ours use."""
import json, sys

KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float), "null": type(None)}


def wrong(value, schema, at="$"):
    if "oneOf" in schema:
        tried = [list(wrong(value, one, at)) for one in schema["oneOf"]]
        if sum(not bad for bad in tried) != 1:
            yield f"{at}: fits none or several: {min(tried, key=len)}"
        return
    kinds = schema.get("type", list(KINDS))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds):
        yield f"{at}: {value!r} is no {'/'.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{at}: {value!r} is not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{at}: no {key}" for key in schema.get("required", []) if key not in value)
        for key, member in value.items():
            if key in known:
                yield from wrong(member, known[key], f"{at}.{key}")
            elif schema.get("additionalProperties", True) is False:
                yield f"{at}: {key} is not in the schema"
            elif isinstance(schema.get("additionalProperties"), dict):
                yield from wrong(member, schema["additionalProperties"], f"{at}.{key}")
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from wrong(item, schema["items"], f"{at}[{index}]")


schema = json.load(open(sys.argv[1]))
texts = [sys.stdin.read()] if "--whole" in sys.argv else [line for line in sys.stdin if line.strip()]
bad = [error for text in texts for error in wrong(json.loads(text), schema)]
print(*bad, sep="\n", end="\n" if bad else "")
sys.exit(1 if bad or not texts else 0)
