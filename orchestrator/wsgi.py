"""The web site over WSGI: pages and API without live updates. The command line calls it in process."""

from django.core.wsgi import get_wsgi_application

from orchestrator import site

site.load_settings()
application = get_wsgi_application()
