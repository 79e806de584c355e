"""Shards: shares of a sweep or population that several machines compute apart.

A shard is written k/n, k from 1 to n. What it holds follows from k, n and the number of items alone, so
shards can be computed in any order, anywhere, and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from nca.errors import UserError

OWN_PACKAGES = ("nca-dissection",)
NUMERIC_PACKAGES = ("jax", "jaxlib", "flax", "optax", "prng")
_LARGEST = 2**31 - 1


@dataclass(frozen=True, order=True)
class Shard:
    """One of n shares of a sweep or population.

    Attributes:
        k: its number, from 1 to n.
        n: the number of shards.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n <= _LARGEST:
            raise UserError(f"A shard is k/n with k from 1 to n, such as 2/8; got {self.k}/{self.n}.")

    @classmethod
    def parse(cls, text: str | Shard) -> Shard:
        """The shard written "k/n", or `UserError` where the text is anything else, or k is not from 1 to n."""
        if isinstance(text, Shard):
            return text
        digits = str(text).split("/")
        if len(digits) != 2 or not all(d.isascii() and d.isdigit() and len(d) < 11 for d in digits):
            raise UserError(f"A shard is k/n with k from 1 to n, such as 2/8; got {text!r}.")
        return cls(*map(int, digits))

    def of(self, count: int) -> range:
        """The items of this shard among 0 .. count - 1: consecutive, as many as in any other shard, or one more.

        Raises:
            UserError: there are fewer items than shards.
        """
        if count < self.n:
            raise UserError(f"{count} cannot be split into {self.n} shards; use at most {count}.")
        return range(count * (self.k - 1) // self.n, count * self.k // self.n)

    @property
    def label(self) -> str:
        """The shard in the name of a file: 2-of-8."""
        return f"{self.k}-of-{self.n}"

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"


def all_shards(n: int) -> list[Shard]:
    """Shards 1/n to n/n."""
    if n < 1:
        raise UserError(f"The number of shards must be at least 1, got {n}.")
    return [Shard(k, n) for k in range(1, n + 1)]


def check_complete(shards: Sequence[tuple[str, Shard]]) -> None:
    """Raise `UserError` unless every shard of one split is present exactly once.

    Args:
        shards: file or folder of each shard, and which shard it holds.
    """
    if not shards:
        raise UserError("There are no shards to merge; name their files or folders.")
    first_path, first = shards[0]
    paths: dict[Shard, str] = {}
    for path, shard in shards:
        if shard.n != first.n:
            raise UserError(
                f"{first_path} is shard {first} and {path} is shard {shard}: they belong to different splits; "
                "merge the shards of one split."
            )
        if shard in paths:
            raise UserError(f"Shard {shard} was given twice, as {paths[shard]} and {path}; give it once.")
        paths[shard] = path
    absent = first.n - len(paths)
    if absent:
        numbers = (k for k in range(1, first.n + 1) if Shard(k, first.n) not in paths)
        missing = [f"{k}/{first.n}" for k in islice(numbers, 6)]
        names = missing if absent <= 6 else [*missing[:5], f"{absent - 5} more"]
        listed = f"Shard {names[0]} is" if len(names) == 1 else f"Shards {', '.join(names[:-1])} and {names[-1]} are"
        raise UserError(
            f"{listed} missing; compute what is missing with --shard, then merge again: the other shards stay "
            "as they are."
        )


def check_same_versions(shards: Sequence[tuple[str, Mapping[str, str]]], allow_mismatch: bool) -> None:
    """Raise `UserError` where shards were computed by different versions.

    Shards of different versions of this package are never merged, since the same option may mean different
    things. Another version of jax may draw other noise from the same key and may round differently; that is
    allowed on request, because each row is compared with the control that its own machine grew.

    Args:
        shards: file or folder of each shard, and the versions that computed it.
        allow_mismatch: allow different versions of `NUMERIC_PACKAGES`.
    """
    for name in (*OWN_PACKAGES, *(() if allow_mismatch else NUMERIC_PACKAGES)):
        first_path, first = shards[0][0], shards[0][1].get(name, "unknown")
        for path, versions in shards[1:]:
            if versions.get(name, "unknown") != first:
                allow = "or allow it with --allow-version-mismatch (allow_version_mismatch=True)"
                raise UserError(
                    f"Shards of different versions: {first_path} was computed by {name} {first} and {path} by "
                    f"{versions.get(name, 'unknown')}; recompute one of them"
                    + ("." if name in OWN_PACKAGES else f", {allow}.")
                )
