"""What the records of benches/gen_day.py hold: shape → [(path, kind)]. The peers are told all of it.

Kinds: text, int, float, bool, texts (a list of text), json (anything else, kept as JSON text). A path such as
`danji.id` is a field of a nested object, and the column `danji_id`.
"""

NARROW = [
    ("value", "text"), ("type", "text"), ("ts", "text"), ("user_id", "int"), ("session", "text"),
    ("device.os", "text"), ("device.ver", "text"),
    ("danji.id", "int"), ("danji.name", "text"), ("danji.lat", "float"), ("danji.lon", "float"), ("ok", "bool"),
]

WIDE = [(name, "text") for name in ("value", "type", "ts", "session")]
for i in range(12):
    WIDE += [(f"count_{i}", "int"), (f"score_{i}", "float")]
for i in range(6):
    WIDE += [(f"flag_{i}", "bool"), (f"text_{i}", "text"), (f"code_{i}", "text")]
for i in range(4):
    WIDE += [(f"long_{i}", "text"), (f"tags_{i}", "texts")]
for i in range(3):
    WIDE += [(f"nested_{i}.id", "int"), (f"nested_{i}.at.lat", "float"), (f"nested_{i}.at.lon", "float"), (f"nested_{i}.note", "text")]
    WIDE += [(f"path_{i}", "json")]

SHAPES = {"narrow": NARROW, "wide": WIDE}

# These are in every record; the others of `wide` may be absent, and are null then.
ALWAYS = {"narrow": {path for path, _ in NARROW}, "wide": {"value", "type", "ts", "session"}}

AGGREGATED = ("value", "type", "ts")


def column(path):
    return path.replace(".", "_")


def tree(fields):
    """[("danji.id", kind)] → {"danji": {"id": kind}}."""
    root = {}
    for path, kind in fields:
        *parents, last = path.split(".")
        node = root
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = kind
    return root
