"""Django settings, from the environment (`orchestrator.environment`): a bad value stops the start."""

from urllib.parse import quote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from orchestrator import site
from orchestrator.administration import theme
from orchestrator.content_policy import DIRECTIVES
from orchestrator.email_server import TIMEOUT_SECONDS, email_server
from orchestrator.environment import (
    database,
    flag,
    home_made,
    keep_private,
    listing,
    log_level,
    rate,
    secret_key,
    text,
    time_zone,
    web_address,
    whole_number,
)
from orchestrator.sdk.home import home
from orchestrator.single_sign_on import single_sign_on

site.activate()
keep_private()

HOME = home_made(home())

BASE_DIR = site.ROOT
SECRET_KEY = secret_key(HOME)
# Older keys, the newest first, separated by commas. What was encrypted (secrets of destinations) or signed (sessions)
# under them stays readable; a destination's secrets are written under SECRET_KEY when it is next saved.
SECRET_KEY_FALLBACKS = listing("SECRET_KEY_FALLBACKS")
DEBUG = flag("DEBUG")
EXTERNAL_URL = web_address("EXTERNAL_URL")
_external = urlsplit(EXTERNAL_URL)
ALLOWED_HOSTS = [
    *listing("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]"),
    *([_external.hostname] if _external.hostname else []),
]
CSRF_TRUSTED_ORIGINS = [f"{_external.scheme}://{_external.netloc}"] if EXTERNAL_URL else []
SECURE = _external.scheme == "https"

INSTALLED_APPS = [
    "unfold",
    "orchestrator.admin_app.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
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
    "orchestrator.content_policy.ContentPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "teams.sign_in.sessions.LastSeenMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "teams.middleware.OriginMiddleware",
    "teams.middleware.ChosenTeamMiddleware",
    "orchestrator.door.DoorMiddleware",
    "teams.middleware.ReaderTimeZoneMiddleware",
    "orchestrator.refusals.RefusalMiddleware",
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

# Set by `orchestrator worker start` on a machine without the database: nothing there may open one.
WITHOUT_DATABASE = flag("WITHOUT_DATABASE")
DATABASES = {} if WITHOUT_DATABASE else {"default": database(HOME)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "teams.User"
ANONYMOUS_USER_NAME = None
GUARDIAN_MONKEY_PATCH_USER = False
AUTHENTICATION_BACKENDS = ["teams.sign_in.backend.PeopleBackend", "guardian.backends.ObjectPermissionBackend"]
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
LOGOUT_REDIRECT_URL = "sign-in"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": DIRECTIVES}
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if SECURE else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE
SILENCED_SYSTEM_CHECKS = [
    "security.W008",  # the reverse proxy leads to https; workers beside the site call it over loopback, without
    "security.W021",  # whether a domain is put on browsers' lists is for who owns it
]

# Signing in. Nobody signs up: accounts come from administrators, invitations and single sign-on.
ACCOUNT_ADAPTER = "teams.sign_in.adapters.PeopleAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_REAUTHENTICATION_METHODS = ["password", "mfa"]
ACCOUNT_REAUTHENTICATION_REQUIRED = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",  # posts of the sign-in page, whatever comes of them
    "login_failed": "10/m/ip,5/5m/key",  # failed ones, from an address and to an account
    "reset_password": "10/m/ip,3/10m/key",
    "reset_password_from_key": "10/m/ip",
    "change_password": "5/m/user",
    "reauthenticate": "10/m/user",
}
MFA_ADAPTER = "teams.sign_in.adapters.SecondFactorAdapter"
MFA_ALLOW_UNVERIFIED_EMAIL = True  # addresses are not what people sign in by alone
MFA_TOTP_ISSUER = "Orchestrator"
MFA_TOTP_TOLERANCE = 1
SINGLE_SIGN_ON = single_sign_on()  # ORCHESTRATOR_OIDC_…
SOCIALACCOUNT_ADAPTER = "teams.sign_in.adapters.SingleSignOnAdapter"
SOCIALACCOUNT_PROVIDERS = SINGLE_SIGN_ON.as_providers() if SINGLE_SIGN_ON else {}
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
SOCIALACCOUNT_EMAIL_AUTHENTICATION = True
SOCIALACCOUNT_EMAIL_AUTHENTICATION_AUTO_CONNECT = True
SOCIALACCOUNT_LOGIN_ON_GET = True  # the button is a link; what comes back is tied to the session that it began in
# How many reverse proxies stand in front of the site: so many of X-Forwarded-For's last addresses were written by them.
TRUSTED_PROXIES = whole_number("TRUSTED_PROXIES", 0, "how many reverse proxies are in front of the site")

# Mail: smtp://user:password@host:587/?from=orchestrator@example.com (STARTTLS; tls=none for none) or smtps://…
_mail = email_server()
EMAIL_HOST = _mail.host  # empty: no mail is sent
EMAIL_PORT = _mail.port
EMAIL_HOST_USER = _mail.user
EMAIL_HOST_PASSWORD = _mail.password
EMAIL_USE_TLS = _mail.starttls
EMAIL_USE_SSL = _mail.tls
EMAIL_TIMEOUT = TIMEOUT_SECONDS
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _mail.sender

# Notifications go to public addresses only. 1: also to private ones (receivers in one's own network), over http too.
ALLOW_PRIVATE_ADDRESSES = flag("ALLOW_PRIVATE_ADDRESSES")

LANGUAGE_CODE = "en"
TIME_ZONE = time_zone("TIME_ZONE")
USE_TZ = True
USE_I18N = False

# The admin in the colours of the pages (static/orchestrator.css).
FORMAT_MODULE_PATH = ["orchestrator.formats"]
UNFOLD = {
    "SITE_TITLE": "Orchestrator",
    "SITE_HEADER": "Orchestrator",
    "STYLES": ["/static/admin.css"],
    "THEME": theme,
    "BORDER_RADIUS": "4px",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/favicon.svg"}],
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
STATIC_ROOT = text("STATIC_ROOT") or None  # only for collectstatic: the site serves what the finders find
WHITENOISE_USE_FINDERS = True

BROKER_URL = text("BROKER_URL")
if BROKER_URL and urlsplit(BROKER_URL).scheme not in {"redis", "rediss", "unix"}:
    raise ImproperlyConfigured(
        f"ORCHESTRATOR_BROKER_URL: cannot use {BROKER_URL.rpartition('@')[2]!r}; write redis://host:6379/0."
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
CELERY_WORKER_CONSUMER = "runs.consumer:Consumer"
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_timeout": 5.0,  # longer than the second that a worker's BRPOP may take
    "socket_connect_timeout": 2.0,
    "socket_keepalive": True,
    "health_check_interval": 3,  # a worker that went deaf notices within 7 s
    "retry_on_timeout": True,
}
CELERY_BEAT_MAX_LOOP_INTERVAL = 2  # its entries are due every 2 s; each loop asks the database for changed ones
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

CACHES = {
    "default": {
        "BACKEND": "orchestrator.cache.SharedCache",
        "LOCATION": f"unix://{_socket}" if _over_socket else BROKER_URL,
        "KEY_PREFIX": "orchestrator",
        "OPTIONS": {
            "serializer": "orchestrator.cache.JsonSerializer",
            "socket_connect_timeout": 1.0,
            "socket_timeout": 1.0,
        },
    },
}
# How many requests a token (a signed-in person, an address) may make of the API: 20000/minute, 50/second, none.
API_RATE = rate("API_RATE", "20000/minute")

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
    "DEFAULT_SCHEMA_CLASS": "orchestrator.openapi.Described",
    "DEFAULT_THROTTLE_CLASSES": ["orchestrator.rates.CallerRate"],
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
    "SERVE_PERMISSIONS": ["runs.api.access.IsAllowed"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "orchestrator.openapi.with_problems",
    ],
    "ENUM_NAME_OVERRIDES": {
        "EventEnum": "notifications.events.Event",
        "OnOverrunEnum": "flows.models.OnOverrun",
        "MessageKindEnum": "notifications.models.Message.Kind",
        "ScheduleKindEnum": "flows.models.ScheduleKind",
    },
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
PERIODIC_JOBS = {  # celery-beat's schedule, by the names of its entries: the job, and how often it is done
    "tick": ("runs.jobs.tick", TICK_SECONDS),
    "notifications": ("notifications.jobs.sweep", 2),  # behind the bells; what is to be tried again
    "housekeeping": ("teams.jobs.sweep", 3600),
    "snapshots": ("flows.jobs.forget_unused_code", 3600),
}
SNAPSHOT_MAX_BYTES = (
    1024
    * 1024
    * whole_number("SNAPSHOT_MAX_MB", 50, "how many megabytes the files of a deployed project may have", minimum=1)
)
LATE_AFTER_SECONDS = whole_number(
    "LATE_AFTER_SECONDS", 60, "how long after its time a run that has not begun is Late", minimum=1
)
LEASE_SECONDS = 20
LEASE_RENEW_SECONDS = 5
WORKER_TASK_PLACES = whole_number(
    "WORKER_TASK_PLACES", 8, "how many processes a worker has for task runs on Celery", minimum=1
)
WORKER_PLACES = whole_number("WORKER_PLACES", 8, "how many runs a worker runs at once", minimum=1)
WORKER_QUEUES = listing("WORKER_QUEUES")  # by name; none: every one
WORKER_GRACE_SECONDS = whole_number("WORKER_GRACE_SECONDS", 30, "how long a stopping worker waits for its runs")
CANCEL_GRACE_SECONDS = 5  # between SIGTERM and SIGKILL of a cancelled run
API_URL = text("API_URL") or EXTERNAL_URL  # where runs find the server
API_TOKEN = text("API_TOKEN")  # of a worker without the database
# Called after an ingest transaction committed, with the ids of the flow runs it changed: live pages and wake-ups.
AFTER_INGEST = "runs.live.announce"
# Called inside the transaction that ends runs, with their rows: what has to be told is written down with the end.
STATE_OUTBOX = "notifications.outbox.record"
# Called inside the transaction that marks runs as late, overrunning or past their deadline.
MARK_OUTBOX = "notifications.outbox.record_mark"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "format": "{asctime}.{msecs:03.0f} | {levelname:<7} | {name} - {message}",
            "style": "{",
            "datefmt": "%H:%M:%S",
        }
    },
    "filters": {"without_traceback": {"()": "orchestrator.refusals.WithoutTraceback"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": log_level("WARNING")},
    "loggers": {
        "runs": {"level": log_level("INFO")},  # which runs started and ended here
        "django.security.DisallowedHost": {"filters": ["without_traceback"]},
        # A full worker stops listening to bells; one that comes in that moment is put back, as it should be.
        "kombu.transport.virtual.base": {"level": "ERROR"},
    },
}
