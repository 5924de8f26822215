"""Any bytes as a schema file: a ValueError that names the file, or a schema whose text reads back to the same."""

import harness

with harness.watched():
    from atrank_tf.schema import dump_schema, load_schema

FILE = harness.scratch() / "schema.toml"
SHORT = b"""
tables.a.dim = 1
entities.a.id = {column = "i", table = "a"}
groups.g = {entity = "a", actions = ["x"]}
tasks.t = {group = "g", negatives.uniform = 1}
"""


def one(data: bytes) -> None:
    FILE.write_bytes(data)
    try:
        schema = load_schema(str(FILE))
    except ValueError as error:
        if str(FILE) not in str(error):
            raise
        return
    FILE.write_text(dump_schema(schema))
    if load_schema(str(FILE)) != schema:
        raise AssertionError(f"{schema} reads back as another one")


if __name__ == "__main__":
    harness.main("schema_toml", one, [harness.SCHEMA.encode(), SHORT])
