"""Type aliases for signatures."""

from typing import Any, TypeAlias

Tensor: TypeAlias = Any
"""A tensor of TensorFlow, a symbolic one of Keras, or a NumPy array that stands for one.

Keras calls the same code with all of them, has no type that covers them, and neither TensorFlow nor Keras ships types
that mypy could check. So this says what is meant, not what is checked: shape and dtype stand in the docstring.
"""

Shape: TypeAlias = tuple[Any, ...]
"""Dimensions of a tensor: an int for each, None where it is open until the call."""
