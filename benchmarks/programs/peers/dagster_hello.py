"""One print, with Dagster."""

from dagster import DagsterInstance, job, op


@op
def hello():
    print("hello")


@job
def hello_job():
    hello()


if __name__ == "__main__":
    with DagsterInstance.get() as instance:
        assert hello_job.execute_in_process(instance=instance).success
