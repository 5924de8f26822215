"""Any bytes as a CSV log file: refused by name, or clean rows of the types that the records need.

The first byte says which file it is. Slow: Polars does some ten queries for each. Parquet files are left out: one that
lies about its sizes ends the process, as Polars 2.1 asks for the memory and aborts when it gets none.
"""

import os

import harness
import polars as pl

os.environ.setdefault("POLARS_MAX_THREADS", "1")

with harness.watched():
    from atrank_tf.preparation.cleaning import clean_log, open_reader
    from atrank_tf.preparation.logs import LogFile
    from atrank_tf.preparation.open_log import as_error
    from atrank_tf.schema import schema_from_dict

import tomllib

SCHEMA = schema_from_dict(tomllib.loads(harness.SCHEMA))
FOLDER = harness.scratch()
KINDS = [("behaviors", "click"), ("impressions", "next"), ("catalog", "item"), ("catalog", "user")]
TYPES = {"row": pl.Int64, "user": pl.String, "id": pl.String, "timestamp": pl.Int64, "label": pl.Int64}
CSV = [
    b"user_id,item_id,action,timestamp\n1,7,view,10\n1,007,buy,20.5\n,8,view,x\n2,9.0,sell,-1\n",
    b"request_id,user_id,item_id,timestamp,label,slot,score\nr,1,7,10,1,top,0.5\nr,1,8,10,0,,\n",
    b'item_id,tags,price\n7,a|b,1.5\n8,"",\n8,c,NaN\n',
    b"user_id,age\n1,old\n2,\n",
]


def one(data: bytes) -> None:
    if not data:
        return
    kind, name = KINDS[data[0] % len(KINDS)]
    path = FOLDER / f"{name}.csv"
    path.write_bytes(data[1:])
    try:
        reader = open_reader(LogFile(kind=kind, name=name, path=path), SCHEMA, FOLDER / "staging")
        checks = reader.check_columns()
        if checks["unknown action"].rows:
            reader.unknown_actions()
        log = clean_log(reader, checks)
        with as_error(path):
            rows = log.frame.collect()
    except ValueError as error:
        if str(path) not in str(error):
            raise
        return
    for column, dtype in rows.schema.items():
        if dtype != TYPES.get(column, dtype):
            raise AssertionError(f"{column} is {dtype}")
    for column in set(rows.columns) & set(TYPES):
        if rows[column].null_count():
            raise AssertionError(f"{column} has nulls")


if __name__ == "__main__":
    harness.main("logs", one, [bytes([kind]) + content for kind, content in enumerate(CSV)])
