from django.apps import AppConfig


class TutorialOrm(AppConfig):
    name = "benchmarks.peers.tutorial_orm"
    label = "tutorial_orm"
