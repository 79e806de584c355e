"""The type checker that the package runs under in tests: shapes to the letter, plain numbers leniently."""

from beartype import BeartypeConf, FrozenDict, beartype
from jax import Array
from numpy import generic, ndarray

# JAX hands constants to hand-written gradients as numbers of NumPy and Python.
NUMBERS = FrozenDict({Array: Array | ndarray | generic | int})
checked = beartype(conf=BeartypeConf(is_pep484_tower=True, hint_overrides=NUMBERS))
