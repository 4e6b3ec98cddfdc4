from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as StockUserAdmin

from holodrive.accounts.models import User


@admin.register(User)
class UserAdmin(StockUserAdmin):
    list_display = ("username", "first_name", "last_name", "role", "is_staff", "is_active")
    list_filter = ("role", "is_staff", "is_active")
    fieldsets: ClassVar[Any] = (
        *(StockUserAdmin.fieldsets or ()),
        ("HoloDrive", {"fields": ("role",)}),
    )
    add_fieldsets: Any = (
        *StockUserAdmin.add_fieldsets,
        ("HoloDrive", {"fields": ("role",)}),
    )
