"""Measures the memory of prepare and of reading, for 5,000 and 50,000 users. Writes build/bench_memory.json."""

import json
import time
from pathlib import Path
from typing import Any

from absl import flags

from atrank_tf import command
from atrank_tf.data import Records, training_batches
from measure import Worker, answer_questions
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
    figures: dict[str, Any] = {"start": _ask("start", "nothing")}
    folders = {"amazon_sports": sports_logs(_LOGS.value)}
    folders |= {f"{users}_users": generated_logs(f"users_{users}", sports_lengths(users)) for users in USERS}
    for name, logs in folders.items():
        figures[name] = {"prepare": _ask("prepare", logs), "read": _ask("read", logs)}
        print(f"{name}: {figures[name]}")
    out = Path(_OUT.value)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1))


def _ask(question: str, folder: str) -> Any:
    """Measures one step in a process of its own, since the peak of a process never falls."""
    worker = Worker(__file__, f"--work={folder}")
    answer = worker.ask(question)
    worker.close()
    return answer


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
