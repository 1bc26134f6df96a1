"""One print."""

from orchestrator import flow


@flow
def hello():
    print("hello")


if __name__ == "__main__":
    hello()
