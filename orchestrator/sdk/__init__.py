"""The engine: pure Python. It imports neither Django nor Celery, and none of the site's apps."""
