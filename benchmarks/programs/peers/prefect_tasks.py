"""N tasks that do nothing, in one flow, with Prefect. Prints when it began and ended, as JSON."""

import json
import sys
import time

from prefect import flow, task


@task
def noop(number):
    return number


@flow
def many(count: int):
    begun = time.time()
    for number in range(count):
        noop(number)
    return {"begun": begun, "ended": time.time()}


if __name__ == "__main__":
    print(json.dumps(many(int(sys.argv[1]))))
