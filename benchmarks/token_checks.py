"""`python -m benchmarks.token_checks TOKEN COUNT`: what authenticating a request of the API costs, by itself and warm.

Prints the milliseconds of each check, one a line: finding the token and its user, as every request begins.
"""

import sys
import time

import django

from orchestrator import site


def main(token: str, count: int) -> None:
    """Check a token so many times and print what the module says."""
    site.load_settings()
    django.setup()
    from django.test import RequestFactory  # these need the settings
    from rest_framework.request import Request
    from rest_framework.settings import api_settings

    authenticators = [authenticator() for authenticator in api_settings.DEFAULT_AUTHENTICATION_CLASSES]
    plain = RequestFactory().get("/api/flow-runs/", headers={"Authorization": f"Bearer {token}"})
    for number in range(-count // 10, count):
        request = Request(plain, authenticators=authenticators)
        begun = time.perf_counter()
        _ = request.user
        seconds = time.perf_counter() - begun
        if number >= 0:
            print(seconds * 1000)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
