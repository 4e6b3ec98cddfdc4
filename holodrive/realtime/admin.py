"""The engine has no pages of its own in the admin, and takes simplejwt's away: they would show, and
let search, what belongs to logins.
"""

from django.contrib import admin

# First of all its own module, which registers them: autodiscover may come to it after this one.
from rest_framework_simplejwt.token_blacklist import admin as _  # noqa: F401
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken

for model in (OutstandingToken, BlacklistedToken):
    if admin.site.is_registered(model):
        admin.site.unregister(model)
