"""What stands between the lookups of a network and its logits, which training may have compiled by XLA."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from atrank_tf.layers import compiled
from atrank_tf.models.size_ladder import rung


class DenseCore:
    """Calls the functions of a network's dense core: as they are, or compiled by XLA.

    XLA compiles a function anew for every size of its tensors. So under XLA there should be few: rungs of a ladder
    (`size_ladder`), and what sums and products they make, as the places of several groups.

    Args:
        seed: a function that draws what dropout in a compiled function is drawn from, uint32 [2]. It is called outside:
            a function that changes a variable would make all that run beside it wait.

    Attributes:
        compiles: whether XLA compiles what is called now.
        sizes: for which functions have been compiled, each with the function's name.
    """

    def __init__(self, seed: Callable[[], Any]) -> None:
        self._seed = seed
        self.compiles = False
        self._functions: dict[str, Any] = {}
        self.sizes: set[tuple[Any, ...]] = set()

    @contextmanager
    def under_xla(self) -> Iterator[None]:
        """Compiles what is called within it."""
        self.compiles = True
        try:
            yield
        finally:
            self.compiles = False

    def size(self, count: Any) -> Any:
        """Returns how many places to make for a count of them, an integer scalar: under XLA a rung of the ladder."""
        return rung(count) if self.compiles else count

    def with_padding(self, rows: Any) -> Any:
        """Returns rows, float [M, D], under XLA with 0 behind them up to a rung of the ladder."""
        if not self.compiles:
            return rows
        number = tf.shape(rows)[0]
        return tf.pad(rows, [[0, rung(number) - number], [0, 0]])

    def __call__(self, name: str, function: Callable[..., Any], *tensors: Any) -> Any:
        """Returns `function(*tensors)`.

        Args:
            name: of the function in this network; the first function of a name is the one that is compiled.
            function: of tensors alone; it must hold no tensor.
            *tensors: its arguments.
        """
        if not self.compiles:
            return function(*tensors)
        if name not in self._functions:

            def seeded(seed: Any, *tensors: Any) -> Any:
                with compiled(seed):
                    return function(*tensors)

            self._functions[name] = tf.function(seeded, jit_compile=True, autograph=False, reduce_retracing=True)
        # Sizes are known when the step runs.
        tf.numpy_function(lambda *sizes: self._note(name, sizes), [tf.shape(each) for each in tensors], [])
        return self._functions[name](self._seed(), *tensors)

    def _note(self, name: str, sizes: Any) -> None:
        self.sizes.add((name, *(tuple(each.tolist()) for each in sizes)))
