"""The base of models whose save publishes: writes lock streams first, and are never silent."""

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.signals import ModelSignal, class_prepared, post_save, pre_save
from django.dispatch import receiver

from holodrive.realtime import log, statements
from holodrive.realtime.routing import HomeModel

M = TypeVar("M", bound=models.Model)


_Completer = TypeVar("_Completer", bound=Callable[[Any, Collection[str] | None], None])
_publishers: dict[type[models.Model], Callable[..., None]] = {}


def publishes(model: type[M]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the function that turns a saved row of this `PublishedModel` into its event. It gets
    what a receiver of post_save gets, ahead of every receiver of that model, so that what those
    save comes after it in the stream, whatever the order of INSTALLED_APPS.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        _publishers[model] = function
        return function

    return register


_completers: dict[type[models.Model], Callable[[Any, Collection[str] | None], None]] = {}


def completes(model: type[M]) -> Callable[[_Completer], _Completer]:
    """Register the function that completes a row of this `PublishedModel`, right before it is
    stored. It gets the row and the `update_fields` of its save. What receivers of pre_save have
    changed, in whatever order, it sees; rows of loaddata it does not get.
    """

    def register(function: _Completer) -> _Completer:
        _completers[model] = function
        return function

    return register


def _complete(row: Any, fields: Collection[str] | None, model: type[models.Model] | None) -> None:
    if model in _completers:
        _completers[model](row, fields)


def _publish(sender: type[models.Model], **kwargs: Any) -> None:
    model: Any = sender._meta.concrete_model
    if model in _publishers:
        _publishers[model](sender=sender, **kwargs)


_Receiver = TypeVar("_Receiver", bound=Callable[..., None])
_receivers: list[tuple[ModelSignal, type[models.Model], Callable[..., None]]] = []


def receiver_of(signal: ModelSignal, model: type[models.Model]) -> Callable[[_Receiver], _Receiver]:
    """Connect a receiver as Django's `receiver` does, and for proxies and children of the model as
    well: a project makes one for another page of its admin, or a table of drivers beside its users,
    and Django sends its signals by its own name.
    """

    def register(function: _Receiver) -> _Receiver:
        _receivers.append((signal, model, function))
        for one in apps.get_models():
            if issubclass(one, model):
                signal.connect(function, sender=one)
        return function

    return register


@receiver(class_prepared)
def _connect_child(sender: type[models.Model], **kwargs: Any) -> None:
    for signal, model, function in _receivers:
        if issubclass(sender, model):
            signal.connect(function, sender=sender)


class SilentWriteError(TypeError):
    """A bulk write that would change rows without telling any socket."""


class PublishedQuerySet(models.QuerySet[M]):
    """Refuses the writes that send no signal: they would change rows and tell nobody."""

    use_instead: ClassVar[str] = "save() on each row"

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise SilentWriteError(
            f"{self.model.__name__}: a bulk write publishes nothing. Use {self.use_instead}."
        )

    bulk_create = bulk_update = update = delete = _refuse
    abulk_create = abulk_update = aupdate = adelete = _refuse


class PublishedModel(HomeModel):
    """A model whose save is an event: locks its streams first, so ids grow in the order
    of seq.

    Lock before row: inserting first and locking after gave 330 of 900 ids inverted against seq.
    """

    # Fields that are set along with others: `save(update_fields=...)` must store them too.
    sets_along: ClassVar[dict[str, tuple[str, ...]]] = {}

    class Meta:
        abstract = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Connect while the class is made: earlier than any app can, even by the model's name. And
        go ahead of those that hear of every model, which may be connected already.
        """
        super().__init_subclass__(**kwargs)
        post_save.connect(_publish, sender=cls)
        with post_save.lock:
            post_save.receivers.insert(0, post_save.receivers.pop())

    def save(self, *args: Any, **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        if fields is not None:
            along = (self.sets_along.get(field, ()) for field in fields)
            kwargs["update_fields"] = {*fields, *chain.from_iterable(along)}
        with log.writing(*self.streams()):
            if fields is None:
                self._load_along()
            super().save(*args, **kwargs)

    def _load_along(self) -> None:
        """Django does not store what a query has deferred, even if it was set since."""
        deferred = self.get_deferred_fields()
        for field, along in self.sets_along.items():
            for name in () if field in deferred else deferred.intersection(along):
                getattr(self, name)

    def _save_table(
        self,
        raw: bool = False,
        cls: type[models.Model] | None = None,
        force_insert: bool = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Collection[str] | None = None,
    ) -> bool:
        """Complete the row behind all receivers of pre_save. (Nothing public comes so late.)"""
        if not raw:
            _complete(self, update_fields, cls)
        stored: bool = super()._save_table(  # type: ignore[misc]
            raw, cls, force_insert, force_update, using, update_fields
        )
        return stored

    @classmethod
    def save_together(cls, rows: Sequence[Self]) -> None:
        """Save new rows, each of other streams than the rest, by one INSERT. Each has its signals.
        If there are several, those after it come with `together=True`: what is done for all at once
        is not theirs.
        """
        said: dict[str, Any] = {"raw": False, "using": DEFAULT_DB_ALIAS, "update_fields": None}
        many = len(rows) > 1
        with log.writing(*chain.from_iterable(row.streams() for row in rows)):
            for row in rows:
                pre_save.send(sender=cls, instance=row, **said)
            for row in rows:
                _complete(row, None, cls._meta.concrete_model)
            statements.insert(rows)
            for row in rows:
                post_save.send(sender=cls, instance=row, created=True, together=many, **said)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: there is no frame yet that tells the apps of it."""
        raise SilentWriteError(
            f"{type(self).__name__}: a delete publishes nothing, so it is refused."
        )

    def streams(self) -> Iterable[str]:
        """Names of the streams that a save of this row appends to."""
        raise NotImplementedError
