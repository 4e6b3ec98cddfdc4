from django.apps import AppConfig


class NextReleaseConfig(AppConfig):
    name = "testing.next_release"

    def ready(self) -> None:
        from testing.next_release import changes

        changes.make()
