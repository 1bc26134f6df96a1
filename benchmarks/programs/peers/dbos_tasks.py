"""N steps that do nothing, in one workflow, with DBOS. Prints when it began and ended, as JSON."""

import json
import os
import sys
import time

from dbos import DBOS


@DBOS.step()
def noop(number):
    return number


@DBOS.workflow()
def many(count):
    begun = time.time()
    for number in range(count):
        noop(number)
    return {"begun": begun, "ended": time.time()}


if __name__ == "__main__":
    url = f"sqlite:///{os.environ['BENCH_HOME']}/dbos.sqlite"
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "WARNING"})
    DBOS.launch()
    print(json.dumps(many(int(sys.argv[1]))))
    DBOS.destroy()
