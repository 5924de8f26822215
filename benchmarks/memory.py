"""Measures the memory of prepare and of reading, for 5,000 and 50,000 users. Writes build/bench_memory.json."""

import time
from pathlib import Path
from typing import Any

from absl import flags

from atrank_tf import command
from atrank_tf.data import Records, training_batches
from figures import write_figures
from measure import answer_questions, ask_once
from process_memory import peak_memory
from workload import BUILD, LOGS, experiments, generated_logs, prepared, sports_lengths, sports_logs

_LOGS = flags.DEFINE_string("logs", LOGS, "Logs folder of Amazon Sports; generated logs are taken where it is none.")
_WORK = flags.DEFINE_string("work", "", "Used by the benchmark itself: the folder that this process works on.")
_OUT = flags.DEFINE_string("out", "build/bench_memory.json", "Where the figures are written.")

USERS = (5_000, 50_000)
BATCHES = 100


def main() -> None:
    if _WORK.value:
        answer_questions({"start": _start, "prepare": _prepare, "read": _read})
        return
    figures: dict[str, Any] = {"start": ask_once("start", __file__, "--work=nothing")}
    folders = {"amazon_sports": sports_logs(_LOGS.value)}
    folders |= {f"{users}_users": generated_logs(f"users_{users}", sports_lengths(users)) for users in USERS}
    for name, logs in folders.items():
        figures[name] = {question: ask_once(question, __file__, f"--work={logs}") for question in ("prepare", "read")}
        print(f"{name}: {figures[name]}")
    write_figures(_OUT.value, figures)


def _records() -> Path:
    return BUILD / "records" / f"memory_{Path(_WORK.value).name}"


def _start() -> dict[str, float]:
    return {"peak_memory_mib": peak_memory()}


def _prepare() -> dict[str, float]:
    started = time.perf_counter()
    records = prepared(_WORK.value, _records(), overwrite=True)
    return {
        "seconds": time.perf_counter() - started,
        "behaviors": sum(records.manifest["behaviors"].values()),
        "peak_memory_mib": peak_memory(),
    }


def _read() -> dict[str, float]:
    batches = training_batches(Records(str(_records())), settings=experiments()["atrank"].batching)
    for _ in batches.dataset.take(BATCHES):
        pass
    return {"batches": BATCHES, "peak_memory_mib": peak_memory()}


if __name__ == "__main__":
    command.run(main)
