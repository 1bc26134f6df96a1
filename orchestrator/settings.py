"""Django settings, from the environment: every variable begins with `ORCHESTRATOR_`, and a bad value stops the start."""

import os
import secrets
from pathlib import Path
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from django.core.exceptions import ImproperlyConfigured

from orchestrator import site
from orchestrator.sdk.home import Home, home

site.activate()

HOME: Home = home()
try:
    HOME.make()
except OSError as error:
    raise ImproperlyConfigured(
        f"ORCHESTRATOR_HOME: cannot use {HOME.root}: {error.strerror}. Set it to a folder that you may write to."
    ) from None


def _text(name: str, default: str = "") -> str:
    return os.environ.get(f"ORCHESTRATOR_{name}", default).strip()


def _flag(name: str, default: bool = False) -> bool:
    value = _text(name, "1" if default else "0").lower()
    if value not in {"0", "1", "true", "false", "yes", "no", "on", "off"}:
        raise ImproperlyConfigured(f"ORCHESTRATOR_{name}: {value!r} is neither 1 nor 0.")
    return value in {"1", "true", "yes", "on"}


def _list(name: str, default: str = "") -> list[str]:
    return [part.strip() for part in _text(name, default).split(",") if part.strip()]


def _secret_key() -> str:
    """The key in the environment, else the one in the home, made (0600) at the first start."""
    if key := _text("SECRET_KEY"):
        return key
    path = HOME.secret_key
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if key := path.read_text().strip():
            return key
        raise ImproperlyConfigured(f"{path} is empty. Delete it and start again to have a new key made.") from None
    with os.fdopen(descriptor, "w") as file:
        key = secrets.token_urlsafe(50)
        file.write(key)
    return key


def _database() -> dict[str, object]:
    """The embedded SQLite database, or what `ORCHESTRATOR_DATABASE_URL` names."""
    url = _text("DATABASE_URL")
    parts = urlsplit(url)
    if not url or parts.scheme == "sqlite":
        path = Path(parts.path) if url else HOME.database
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(path),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;"
                " PRAGMA cache_size=-16000; PRAGMA temp_store=MEMORY; PRAGMA wal_autocheckpoint=2000;",
            },
            "CONN_MAX_AGE": None,
        }
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"ORCHESTRATOR_DATABASE_URL: cannot use {parts.scheme or url!r}; write postgresql://user:password@host/name."
        )
    from psycopg.conninfo import conninfo_to_dict  # psycopg costs 60 ms; SQLite's users do not pay it

    known = conninfo_to_dict(url)
    if not known.get("dbname"):
        raise ImproperlyConfigured("ORCHESTRATOR_DATABASE_URL: names no database; write postgresql://…/name.")
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {
        "ENGINE": "django.db.backends.postgresql",
        **{setting: str(known.pop(key, "") or "") for key, setting in names.items()},
        "OPTIONS": known,
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


def _time_zone() -> str:
    name = _text("TIME_ZONE", "UTC")
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ImproperlyConfigured(f"ORCHESTRATOR_TIME_ZONE: {name!r} is no time zone; write one like Europe/Paris.") from None
    return name


BASE_DIR = site.ROOT
SECRET_KEY = _secret_key()
DEBUG = _flag("DEBUG")
EXTERNAL_URL = _text("EXTERNAL_URL").rstrip("/")
_external = urlsplit(EXTERNAL_URL)
ALLOWED_HOSTS = [
    *_list("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]"),
    *([_external.hostname] if _external.hostname else []),
]
CSRF_TRUSTED_ORIGINS = [f"{_external.scheme}://{_external.netloc}"] if EXTERNAL_URL else []
SECURE = _external.scheme == "https"

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "django_celery_beat",
    "django_filters",
    "guardian",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "teams",
    "flows",
    "runs",
    "notifications",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "orchestrator.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "teams.middleware.ReaderTimeZoneMiddleware",
]
ROOT_URLCONF = "orchestrator.urls"
ASGI_APPLICATION = "orchestrator.asgi.application"
WSGI_APPLICATION = "orchestrator.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "teams.User"
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend", "guardian.backends.ObjectPermissionBackend"]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
TIME_ZONE = _time_zone()
USE_TZ = True
USE_I18N = False

# The admin in the colours of the pages (static/orchestrator.css).
UNFOLD = {
    "SITE_TITLE": "Orchestrator",
    "SITE_HEADER": "Orchestrator",
    "SITE_SYMBOL": "clear_all",
    "SHOW_HISTORY": False,
    "COLORS": {
        "base": {
            "50": "#f7f7f5", "100": "#f1f1ee", "200": "#e4e3de", "300": "#cfcec7", "400": "#a3a4a6", "500": "#65676c",
            "600": "#5b5d62", "700": "#3a3e44", "800": "#2a2d31", "900": "#1a1c1f", "950": "#131416",
        },
        "primary": {
            "50": "#eef2f8", "100": "#e6ecf4", "200": "#cfdbea", "300": "#b0c6e2", "400": "#8fb3dd", "500": "#5b7ca8",
            "600": "#3d5a80", "700": "#34496b", "800": "#2a3d58", "900": "#202a36", "950": "#161e28",
        },
    },
}  # fmt: skip

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = _text("STATIC_ROOT") or None  # only for collectstatic: the site serves what the finders find
WHITENOISE_USE_FINDERS = True

BROKER_URL = _text("BROKER_URL")
if BROKER_URL and urlsplit(BROKER_URL).scheme not in {"redis", "rediss", "unix"}:
    raise ImproperlyConfigured(
        f"ORCHESTRATOR_BROKER_URL: cannot use {urlsplit(BROKER_URL).scheme!r}; write redis://host:6379/0."
    )
# Celery and Channels write the address of a Unix socket differently (redis+socket:// and unix://).
_socket = urlsplit(BROKER_URL).path if BROKER_URL.startswith("unix:") else str(HOME.broker_socket)
_over_socket = not BROKER_URL or BROKER_URL.startswith("unix:")

CELERY_BROKER_URL = f"redis+socket://{quote(_socket)}" if _over_socket else BROKER_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "orchestrator.jobs"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A message is a wake-up or the tick, both short; user code runs in processes of its own, never in Celery's pool.
CELERY_WORKER_POOL = "threads"
CELERY_WORKER_CONCURRENCY = 4
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5.0,  # longer than the second that a worker's BRPOP may take
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 3,  # a worker that went deaf notices within 7 s
    "retry_on_timeout": True,
}
CELERY_BEAT_MAX_LOOP_INTERVAL = 1
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
DJANGO_CELERY_BEAT_TZ_AWARE = True

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [f"unix://{_socket}" if _over_socket else BROKER_URL], "prefix": "orchestrator"},
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "runs.authentication.RunTokenAuthentication",
        "teams.authentication.TokenAuthentication",
        "teams.authentication.InProcessAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["runs.api.access.IsAllowed"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["orchestrator.bodies.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "orchestrator.paging.KeysetPagination",
    "EXCEPTION_HANDLER": "orchestrator.problems.problem_response",
    "COERCE_DECIMAL_TO_STRING": False,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Orchestrator",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "AUTHENTICATION_WHITELIST": [
        "teams.authentication.TokenAuthentication",
        "runs.authentication.RunTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
}

# The engine room. Times in seconds.
TICK_SECONDS = 2  # beat materializes, hands out what is due before the next tick, and reaps
SCHEDULE_HORIZON = 7 * 24 * 3600  # how far ahead runs are materialized …
SCHEDULE_AHEAD = 5  # … and how many of each schedule at most
LEASE_SECONDS = 20
LEASE_RENEW_SECONDS = 5
WORKER_PLACES = int(_text("WORKER_PLACES", "8")) if _text("WORKER_PLACES", "8").isdigit() else 0
if WORKER_PLACES < 1:
    raise ImproperlyConfigured("ORCHESTRATOR_WORKER_PLACES: write how many runs a worker runs at once, 1 or more.")
WORKER_GRACE_SECONDS = int(_text("WORKER_GRACE_SECONDS", "30")) if _text("WORKER_GRACE_SECONDS", "30").isdigit() else -1
if WORKER_GRACE_SECONDS < 0:
    raise ImproperlyConfigured("ORCHESTRATOR_WORKER_GRACE_SECONDS: write how long a stopping worker waits for its runs.")
CANCEL_GRACE_SECONDS = 5  # between SIGTERM and SIGKILL of a cancelled run
API_URL = _text("API_URL") or EXTERNAL_URL  # where runs find the server
# Called after an ingest transaction committed, with the ids of the flow runs it changed: live pages and wake-ups.
AFTER_INGEST = "runs.live.announce"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime}.{msecs:03.0f} | {levelname:<7} | {name} - {message}", "style": "{", "datefmt": "%H:%M:%S"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _text("LOG_LEVEL", "WARNING").upper()},
    "loggers": {
        "runs": {"level": _text("LOG_LEVEL", "INFO").upper()},  # which runs started and ended here
        # A full worker stops listening to bells; one that comes in that moment is put back, as it should be.
        "kombu.transport.virtual.base": {"level": "ERROR"},
    },
}
