"""Parts of a whole that machines make apart: what each holds, and whether together they are whole.

A part is k/n, counted from 1. What it holds follows from k, n and the number of members alone, so
parts can be made in any order, anywhere, and again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nca.errors import UserError

OWN = ("nca-dissection",)
NUMERIC = ("jax", "jaxlib", "flax", "optax")
MOST = 2**31 - 1


@dataclass(frozen=True, order=True)
class Part:
    """One of the parts that a whole is split into.

    Attributes:
        k: which, from 1.
        n: of how many.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        if not 1 <= self.k <= self.n <= MOST:
            raise UserError(f"A part is k/n with k from 1 to n, such as 2/8; got {self.k}/{self.n}.")

    @classmethod
    def parse(cls, text: str | Part) -> Part:
        """The part that "k/n" names.

        Raises:
            UserError: anything else, or k is not from 1 to n.
        """
        if isinstance(text, Part):
            return text
        digits = str(text).split("/")
        if len(digits) != 2 or not all(d.isascii() and d.isdigit() and len(d) < 11 for d in digits):
            raise UserError(f"A part is k/n with k from 1 to n, such as 2/8; got {text!r}.")
        return cls(*map(int, digits))

    def of(self, count: int) -> range:
        """Which of the members 0 .. count - 1 this part holds.

        They stand in a row; no part holds more than one member more than another.

        Raises:
            UserError: fewer members than parts.
        """
        if count < self.n:
            raise UserError(f"{count} cannot be split into {self.n} parts; take at most {count}.")
        return range(count * (self.k - 1) // self.n, count * self.k // self.n)

    @property
    def label(self) -> str:
        """The part in the name of a file: 2-of-8."""
        return f"{self.k}-of-{self.n}"

    def __str__(self) -> str:
        return f"{self.k}/{self.n}"


def all_parts(n: int) -> list[Part]:
    """Every part of a whole split in n."""
    if n < 1:
        raise UserError(f"A whole is split into at least one part, got {n}.")
    return [Part(k, n) for k in range(1, n + 1)]


def check_whole(found: Sequence[tuple[str, Part]]) -> None:
    """Raise `UserError` unless every part is there, once.

    Args:
        found: where each part was found, and which it is.
    """
    if not found:
        raise UserError("There are no parts to merge; name their files or folders.")
    by_part: dict[Part, str] = {}
    for place, part in found:
        first = found[0]
        if part.n != first[1].n:
            raise UserError(
                f"{first[0]} is part {first[1]} and {place} is part {part}: they are of different splits; "
                "merge the parts of one split."
            )
        if part in by_part:
            raise UserError(f"Part {part} came twice, from {by_part[part]} and {place}; give it once.")
        by_part[part] = place
    missing = [part for part in all_parts(found[0][1].n) if part not in by_part]
    if missing:
        raise UserError(
            f"{_named(missing)} missing; make what is missing with --part, then merge again: "
            "the other parts stay as they are."
        )


def check_versions(found: Sequence[tuple[str, Mapping[str, str]]], mixed: bool) -> None:
    """Raise `UserError` where parts were made by different versions.

    Another version of this package may mean other things by the same words, so its parts are never
    merged. Another jax may draw other noise from the same key and rounds otherwise, which is allowed
    where it is asked for: every row stays beside the control that its own machine grew.

    Args:
        found: where each part was found, and the versions that made it.
        mixed: allow different versions of `NUMERIC`.
    """
    for name in (*OWN, *(() if mixed else NUMERIC)):
        place, first = found[0][0], found[0][1].get(name, "unknown")
        for other, versions in found[1:]:
            if versions.get(name, "unknown") != first:
                cure = "make one of them again" + ("" if name in OWN else ", or allow it with --mixed (mixed=True)")
                raise UserError(
                    f"Parts of different versions: {place} was made by {name} {first} and {other} by "
                    f"{versions.get(name, 'unknown')}; {cure}."
                )


def _named(parts: Iterable[Part]) -> str:
    """Parts in words: the first few by name."""
    names = [str(part) for part in parts]
    if len(names) == 1:
        return f"Part {names[0]} is"
    shown = names if len(names) <= 6 else [*names[:5], f"{len(names) - 5} more"]
    return f"Parts {', '.join(shown[:-1])} and {shown[-1]} are"
