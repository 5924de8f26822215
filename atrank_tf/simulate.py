"""`python -m atrank_tf.simulate`: the logs of a simulated market, or of a simulated hotel search."""

import sys
import time
from pathlib import Path

from absl import flags

from atrank_tf import command

_DATA = flags.DEFINE_enum(
    "data", "market", ["market", "hotel_lists"], "What is simulated: docs/market.md, docs/lists.md."
)
_USERS = flags.DEFINE_integer("users", 100_000, "Number of users.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "Seed: the same one gives the same logs.", lower_bound=0)
_LOGS = flags.DEFINE_string("logs", None, "Logs folder to write.", required=True)

command.check_paths(_LOGS)


def check() -> None:
    """Looks for what stands in the way."""
    if Path(_LOGS.value).exists():
        raise FileExistsError(f"Expected nothing at {_LOGS.value}. Remove it, or choose another folder.")


def main() -> None:
    from atrank_tf.datasets import write_hotel_lists, write_market

    write = {"market": write_market, "hotel_lists": write_hotel_lists}[_DATA.value]
    started = time.monotonic()
    rows = write(_LOGS.value, users=_USERS.value, seed=_SEED.value)
    seconds = time.monotonic() - started
    sys.stdout.write(
        f"{_LOGS.value}: {_USERS.value:,} users in {seconds:.1f} s, {_USERS.value / seconds:,.0f} users per second\n"
    )
    for name, count in rows.items():
        sys.stdout.write(f"  {name:28}{count:>14,} rows\n")


if __name__ == "__main__":
    command.run(main, check)
