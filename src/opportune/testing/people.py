"""People that do not exist, recorded more than once with mistakes, and the truth of who is who."""

from __future__ import annotations

import random

COLUMNS = ("first_name", "surname", "dob", "street", "city", "postcode", "email", "phone")
_STARTS = (
    "br",
    "c",
    "d",
    "f",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "st",
    "t",
    "tr",
    "v",
    "w",
    "",
)
_VOWELS = ("a", "e", "i", "o", "u", "ea", "ou", "ie")
_ENDS = ("n", "r", "ll", "s", "t", "x", "nd", "rd", "ck", "", "y", "m")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def people(
    count: int, *, seed: int = 0, copies: float = 0.0, mistakes: float = 0.15
) -> tuple[list[dict[str, str]], list[int]]:
    """Rows with :data:`COLUMNS`, and the person of each.

    Every person has one record and, with probability ``copies``, another, another, and so on. A value of a
    copy is mistyped, missing or outdated with probability ``mistakes``. Names follow Zipf's law, as real ones
    do, and are made of syllables.
    """
    rng = random.Random(seed)
    firsts, lasts, cities, streets = (
        _popular(rng, size, syllables) for size, syllables in ((800, 2), (5_000, 2), (400, 2), (3_000, 3))
    )
    rows, truth = [], []
    for person in range(count):
        first, last, street, city = (_draw(rng, names) for names in (firsts, lasts, streets, cities))
        row = {
            "first_name": first,
            "surname": last,
            "dob": f"{rng.randint(1940, 2005)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}",
            "street": f"{rng.randint(1, 200)} {street} street",
            "city": city,
            "postcode": f"{rng.randint(1000, 9999)}",
            "email": f"{first}.{last}{rng.randint(1, 999)}@{_draw(rng, cities)}.example",
            "phone": f"0{rng.randint(10**8, 10**9 - 1)}",
        }
        rows.append(row)
        truth.append(person)
        while rng.random() < copies:
            rows.append({name: _spoiled(rng, value, mistakes) for name, value in row.items()})
            truth.append(person)
    order = [*range(len(rows))]
    rng.shuffle(order)
    return [rows[i] for i in order], [truth[i] for i in order]


def mistyped(rng: random.Random, value: str) -> str:
    """One letter changed, added, left out, or swapped with its neighbour."""
    at = rng.randrange(len(value))
    letter = rng.choice("0123456789" if value[at].isdigit() else _LETTERS)
    return rng.choice(
        (
            value[:at] + letter + value[at + 1 :],
            value[:at] + letter + value[at:],
            value[:at] + value[at + 1 :],
            value[:at] + value[at : at + 2][::-1] + value[at + 2 :],
        )
    )


def _spoiled(rng: random.Random, value: str, mistakes: float) -> str:
    if rng.random() >= mistakes or not value:
        return value
    return "" if rng.random() < 0.4 else mistyped(rng, value)


def _popular(rng: random.Random, size: int, syllables: int) -> list[str]:
    return [
        "".join(rng.choice(_STARTS) + rng.choice(_VOWELS) for _ in range(syllables)) + rng.choice(_ENDS)
        for _ in range(size)
    ]


def _draw(rng: random.Random, names: list[str]) -> str:
    """The k-th name with a chance that falls as 1 / k."""
    return names[min(int(len(names) ** rng.random()) - 1, len(names) - 1)]
