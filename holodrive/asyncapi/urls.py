from django.urls import path

from holodrive.asyncapi import views

urlpatterns = [
    path("", views.page, name="realtime-docs"),
    path("asyncapi.json", views.document_json, name="asyncapi"),
]
