"""One print, with DBOS."""

import os

from dbos import DBOS


@DBOS.workflow()
def hello():
    print("hello")


if __name__ == "__main__":
    url = f"sqlite:///{os.environ['BENCH_HOME']}/dbos.sqlite"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "WARNING"})
    DBOS.launch()
    hello()
    DBOS.destroy()
