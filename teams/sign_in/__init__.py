"""How people come in and what they may do with their own account, on django-allauth."""
