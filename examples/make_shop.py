"""A made-up shop of 3,000 customers and 800 products, as a shop's own system would export it: two CSV files.

python examples/make_shop.py FOLDER [--days=365] [--seed=7]

orders.csv     customer, product, ordered_at; no ratings, and many customers who ordered only once or twice
products.csv   product, name, category; names with umlauts, some of them missing

More days add orders at the end and change none of the earlier ones.
"""

import argparse
import csv
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

CUSTOMERS, PRODUCTS = 3_000, 800
ORDERS_A_DAY = 110
FIRST_DAY = datetime(2025, 1, 1)
WITHOUT_NAME = 0.04  # of the products
FOLLOWS = 0.6  # of the orders: from the category of the one before, or the one that goes with it
CATEGORIES = {  # what is sold, and the category that often follows
    "Küche": ("Käsereibe Schöpflöffel Knoblauchpresse Rührschüssel Brotkörbchen Nussknacker", "Backen"),
    "Backen": ("Gugelhupfform Nudelholz Spritztülle Plätzchendose Sauerteigkörbchen Kuchenglocke", "Küche"),
    "Garten": ("Gießkanne Blumenkübel Heckenschere Vogelhäuschen Hängematte Kräuterbeet", "Balkon"),
    "Balkon": ("Sonnenschirm Klappstühle Lichterkette Windmühle Kübelrose Tischgrill", "Garten"),
    "Büro": ("Füllfederhalter Schreibtischleuchte Notizbüchlein Ablagefächer Locher Zirkelkästchen", "Papier"),
    "Papier": ("Grußkärtchen Geschenkbänder Briefumschläge Löschpapier Klebstoff Wachsstöckchen", "Büro"),
    "Bad": ("Seifenschälchen Badebürste Frotteetücher Spiegelhäkchen Zahnputzbecher Fußmatte", "Schlafen"),
    "Schlafen": ("Daunendecke Wärmflasche Kissenbezüge Nachttischlämpchen Schlafmützchen Wollsocken", "Bad"),
}
STYLES = "schöne kleine große blaue grüne weiße gelbe rote alte neue leichte süße kräftige einfache übergroße".split()
MAKERS = "Möbius Schäfer Größer Jäger Bühler Weiß Lüders".split()


def products(random: np.random.Generator) -> list[tuple[str, str, str]]:
    """(product, name, category) of each; a name may be empty."""
    rows = []
    for number in range(PRODUCTS):
        category = list(CATEGORIES)[number % len(CATEGORIES)]
        noun = random.choice(CATEGORIES[category][0].split())
        name = f"{noun}, {random.choice(STYLES)} Ausführung, {random.choice(MAKERS)} Nr. {number}"
        rows.append((f"P{number:04}", "" if random.random() < WITHOUT_NAME else name, category))
    return rows


def orders(random: np.random.Generator, categories: list[str], days: int) -> Iterator[tuple[str, str, str]]:
    """(customer, product, time), in the order of time."""
    of_category = {name: [n for n, category in enumerate(categories) if category == name] for name in CATEGORIES}
    popularity = 1 / (np.arange(PRODUCTS) + 20.0)
    activity = random.lognormal(0, 0.75, CUSTOMERS)
    activity /= activity.sum()
    last: dict[int, str] = {}
    for day in range(days):
        for minute in np.sort(random.integers(0, 24 * 60, random.poisson(ORDERS_A_DAY))):
            customer = int(random.choice(CUSTOMERS, p=activity))
            chosen = None
            if customer in last and random.random() < FOLLOWS:
                chosen = random.choice([last[customer], CATEGORIES[last[customer]][1]])
            among = np.array(of_category[chosen]) if chosen else np.arange(PRODUCTS)
            product = int(random.choice(among, p=popularity[among] / popularity[among].sum()))
            last[customer] = categories[product]
            time = FIRST_DAY + timedelta(days=day, minutes=int(minute))
            yield f"K{customer:05}", f"P{product:04}", time.isoformat(sep=" ", timespec="minutes")


def write(path: Path, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write orders.csv and products.csv")
    parser.add_argument("--days", type=int, default=365, help="days of orders (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args(arguments)
    asked.folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(asked.seed)
    items = products(random)
    write(asked.folder / "products.csv", ("product", "name", "category"), items)
    head = ("customer", "product", "ordered_at")
    made = list(orders(random, [row[2] for row in items], asked.days))
    write(asked.folder / "orders.csv", head, made)
    print(f"{asked.folder}: {len(made):,} orders of {asked.days} days, {len(items)} products")


if __name__ == "__main__":
    main()
