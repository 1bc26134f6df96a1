"""N ops that do nothing, in one job, with Dagster; the graph is built before the clock starts.

Prints when it began and ended, as JSON.
"""

import json
import sys
import time

from dagster import DagsterInstance, job, op


@op
def noop():
    return 1


@job
def many():
    for number in range(int(sys.argv[1])):
        noop.alias(f"noop_{number}")()


if __name__ == "__main__":
    with DagsterInstance.get() as instance:
        begun = time.time()
        assert many.execute_in_process(instance=instance).success
        print(json.dumps({"begun": begun, "ended": time.time()}))
