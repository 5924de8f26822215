"""`python -m atrank_tf.explain`: a report on which behaviors a model's scores came from."""

import csv
import math
import sys
from collections.abc import Sequence

from absl import flags

from atrank_tf import command

_RECORDS = flags.DEFINE_string(
    "records", None, "Records folder, as `python -m atrank_tf.prepare` wrote it.", required=True
)
_MODEL_DIR = flags.DEFINE_string("model_dir", None, "Folder of the trained model.", required=True)
_OUT = flags.DEFINE_string("out", None, "Folder of the report.", required=True)
_USER_ID = flags.DEFINE_multi_string("user_id", [], "A user to explain; may be given several times.")
_USERS = flags.DEFINE_integer(
    "users", 6, "How many users to explain where none is named: those whose history holds the most groups.", 1
)
_SPLIT = flags.DEFINE_enum("split", "test", ["validation", "test"], "Part of the data whose requests are explained.")
_MEASURED = flags.DEFINE_integer("measured_users", 256, "Users over whom the semantic spaces are measured.", 1)
_CATEGORY = flags.DEFINE_string("category", "", "Table of side features whose values count as categories.")

command.reads_records(_RECORDS)
command.reads(_MODEL_DIR)
command.writes(_OUT, last=("index.html",), contents="")


def check() -> None:
    """Looks for the records and the model."""
    command.check_records(_RECORDS.value)
    command.check_model(_MODEL_DIR.value)


def main() -> None:
    import tensorflow as tf

    from atrank_tf import explanation as room
    from atrank_tf.data import Part, Records
    from atrank_tf.progress import tracked
    from atrank_tf.report import check_parts, load_report
    from atrank_tf.training import load_model_for, load_trained_experiment

    config = load_trained_experiment(_MODEL_DIR.value).model
    records = Records(_RECORDS.value).select(config.groups, affinity=config.reads_affinity)
    model, out = load_model_for(records, _MODEL_DIR.value), _OUT.value
    check_parts(load_report(records.path), records.schema, model.tasks, [Part(_SPLIT.value)], records.path)
    records.verify()
    explainer, occluder = room.Explainer(model, room.Names(records, _CATEGORY.value)), room.Occluder(model)
    requests = room.requests_of_users(records, _SPLIT.value, model.tasks, _USER_ID.value, _USERS.value)
    tf.io.gfile.makedirs(out)
    pages, agreement = [], []
    for number, request in enumerate(tracked(requests, "explaining", "requests"), 1):
        found = explainer.explain_one(request)
        occlusion = occluder.occlude(found)
        agreement += room.attention_agreement(found, occlusion).tolist()
        pages.append(room.explanation_to_json(found, occlusion, list(records.schema.groups)))
        room.draw_figures(found, occlusion, f"{out}/{number:02}")  # Not the id, which may be no file name.
    sampled = [
        request
        for task in model.tasks
        for request in room.sampled_requests(records, _SPLIT.value, task, _MEASURED.value)
    ]
    measured = map(explainer.explain_one, tracked(sampled, "measuring", "requests"))
    focuses = room.measure_spaces(measured)
    table = room.focus_table(focuses)
    if focuses:
        room.spaces_figure(focuses, f"{out}/spaces.png")
        with tf.io.gfile.GFile(f"{out}/spaces.csv", "w") as file:
            csv.writer(file).writerows(table)
    about = f"{model.name}, {_SPLIT.value}: {len(requests)} requests."
    known = [value for value in agreement if not math.isnan(value)]
    if known:
        about += f" Mean rank agreement of attention and effect: {sum(known) / len(known):.2f}."
    room.write_page(f"{out}/index.html", pages, focuses, about)
    sys.stdout.write(f"{_text(table)}\n{about}\n{out}/index.html\n")


def _text(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "".join(f"{row.rstrip()}\n" for row in rows)


if __name__ == "__main__":
    command.run(main, check)
