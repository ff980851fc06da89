"""A small file of rated texts."""

from uqkd import seeds

WORDS = {"bad": ("awful", "poor", "sad"), "good": ("lovely", "fine", "glad")}


def rated_file(folder, rows=60, name="rated.csv"):
    """Texts whose words tell what most people say; every tenth has no majority."""
    rng = seeds.generator("test", "rated", rows, name)
    lines = ["text,n_bad,n_good"]
    for row in range(rows):
        kind = ("bad", "good")[row % 2]
        words = " ".join(rng.choice(WORDS[kind], size=3))
        most = 5 if row % 10 == 9 else int(rng.integers(6, 11))
        counts = (most, 10 - most) if kind == "bad" else (10 - most, most)
        lines.append(f"{words} {row},{counts[0]},{counts[1]}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path
