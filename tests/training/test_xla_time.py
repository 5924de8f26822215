"""What XLA has compiled, and how long the steps that did took."""

import time
from types import SimpleNamespace

from atrank_tf.training import XlaTime


def test_steps_that_compile_count_and_those_of_a_training_before_do_not() -> None:
    model, watch = SimpleNamespace(xla=True, xla_functions=4), XlaTime()
    watch.set_model(model)
    watch.on_train_begin()
    seconds = []
    for functions in (4, 7, 7):
        watch.on_train_batch_begin(0)
        time.sleep(0.002)
        model.xla_functions = functions
        watch.on_train_batch_end(0)
        seconds.append(watch.logs()["xla_seconds"])
    assert seconds[0] == 0 < seconds[1] == seconds[2]
    logs = {"loss": 1.0}
    watch.on_epoch_end(0, logs)
    assert logs == {"loss": 1.0, "xla_functions": 7, "xla_seconds": seconds[1]}


def test_without_xla_nothing_is_told() -> None:
    watch = XlaTime()
    watch.set_model(SimpleNamespace(xla=False, xla_functions=0))
    assert watch.logs() == {}
