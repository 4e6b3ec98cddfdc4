"""No list of the admin answers a question about what it does not show."""

from types import SimpleNamespace

import pytest
from django.contrib import admin
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.auth import get_user_model
from django.test import RequestFactory
from django.urls import reverse

from chat.models import CannedReply, Conversation, Message
from holodrive.realtime.admin_lookups import StrictLookups
from notifications.models import Notification
from push.models import Device

pytestmark = pytest.mark.django_db(transaction=True)

LOOKUPS = (
    "", "exact", "iexact", "contains", "icontains", "startswith", "istartswith", "endswith",
    "regex", "iregex", "in", "isnull", "isempty", "gt", "gte", "lt", "range", "date", "year",
    "length", "has_key", "0", "id",
)  # fmt: skip
PATTERNS = {"contains", "icontains", "startswith", "istartswith", "endswith", "regex", "iregex"}
# The names of people are what all of the admin finds them by.
FOUND_BY = {"id", "username", "first_name", "last_name"}


def admins():
    return [*admin.site._registry.values()]


def named(one):
    return one.opts.label


def request_of_superuser():
    request = RequestFactory().get("/")
    request.user = get_user_model()(is_superuser=True, is_staff=True)
    return request


def names(field):
    """As a lookup would call it: as `user` and `user_id`."""
    return {field.name, getattr(field, "attname", field.name)}


def paths(model):
    """All fields, those of others that lead here as well, and all fields of what they lead to."""
    for field in model._meta.get_fields(include_hidden=True):
        yield from names(field)
        if field.related_model:
            for other in field.related_model._meta.get_fields(include_hidden=True):
                yield from (f"{field.name}__{name}" for name in names(other))


def shown(one, request):
    """The fields that a list has a column or a filter of, and its key."""
    columns = [*one.get_list_display(request), *one.get_list_filter(request), one.date_hierarchy]
    found = {column[0] if isinstance(column, tuple) else column for column in columns}
    return found | {"pk", one.opts.pk.name}


def is_key_of_shown(one, path, found):
    """As `assignee__id`."""
    relation, _, key = path.rpartition("__")
    if relation not in found:
        return False
    field = get_fields_from_path(one.model, relation)[-1]
    return field.is_relation and key == field.target_field.name


@pytest.mark.parametrize("one", admins(), ids=named)
def test_no_list_takes_a_lookup_on_a_field_that_it_does_not_show(one):
    request, refused = request_of_superuser(), 0
    found = shown(one, request)
    for path in paths(one.model):
        is_shown = path in found or is_key_of_shown(one, path, found)
        for lookup in LOOKUPS:
            asked = f"{path}__{lookup}" if lookup else path
            if is_shown and lookup not in PATTERNS:
                continue
            if asked in found or is_key_of_shown(one, asked, found):
                continue
            assert not one.lookup_allowed(asked, "9", request), asked
            refused += 1
    assert refused
    assert isinstance(one, StrictLookups)


@pytest.mark.parametrize("one", admins(), ids=named)
def test_every_filter_of_a_list_works(one, client, make_user):
    client.force_login(make_user("admin"))
    path = reverse(f"admin:{one.opts.app_label}_{one.opts.model_name}_changelist")
    shown = client.get(path, {"_facets": "True"}).context["cl"]
    for spec in shown.filter_specs:
        for choice in spec.choices(shown):
            answer = client.get(path + choice["query_string"])
            assert answer.status_code == 200, choice["query_string"]


@pytest.mark.parametrize("one", admins(), ids=named)
def test_no_list_finds_or_orders_by_what_it_does_not_show(one):
    request = request_of_superuser()
    fieldsets = one.get_fieldsets(request, one.model())
    pages = {*admin.utils.flatten_fieldsets(fieldsets), *shown(one, request)}
    for name in one.get_search_fields(request):
        first, _, rest = name.lstrip("^=@").partition("__")
        assert first in pages or first == "participants", name
        assert not rest or rest.rpartition("__")[2] in FOUND_BY, name
    for name in one.get_list_display(request):
        order = getattr(getattr(one, str(name), None), "admin_order_field", name)
        assert str(order).lstrip("-") in {*pages, "__str__"}, name
    for name in one.get_ordering(request):
        assert name.lstrip("-") in pages, name


@pytest.mark.parametrize("one", admins(), ids=named)
def test_what_completes_a_field_of_a_form_finds_by_no_text(one):
    request = request_of_superuser()
    request.resolver_match = SimpleNamespace(url_name="autocomplete")
    fields = {name.lstrip("^=@") for name in one.get_search_fields(request)}
    assert (
        not fields & {"text", "message", "title", "subject", "original"} or one.model is CannedReply
    )


HIDDEN = [
    ("chat_message", "original__startswith"),
    ("chat_message", "sender__password__startswith"),
    ("chat_message", "client_message_id"),
    ("chat_conversation", "messages__original__contains"),
    ("chat_conversation", "notes__text__contains"),
    ("chat_participant", "conversation__messages__text__contains"),
    ("chat_note", "client_note_id__gt"),
    ("push_device", "token__startswith"),
    ("push_device", "keys__auth__startswith"),
    ("push_device", "login"),
    ("push_preference", "user__push_devices__token__startswith"),
    ("notifications_notification", "data__conversation_id"),
    ("notifications_notification", "message__contains"),
    ("accounts_user", "password__startswith"),
    ("accounts_user", "push_devices__token__startswith"),
    ("accounts_user", "tickets__digest"),
    ("auth_group", "user__password__startswith"),
]


@pytest.mark.parametrize(("name", "lookup"), HIDDEN)
def test_what_is_hidden_cannot_be_asked_for_in_the_query_string(client, make_user, name, lookup):
    client.force_login(make_user("admin"))
    path = reverse(f"admin:{name}_changelist")
    for value in ("9", "x"):
        assert client.get(path, {lookup: value}).status_code == 400
    assert client.get(path, {"_popup": 1, lookup: "9"}).status_code == 400


def test_a_hidden_number_is_found_by_no_road(client, make_user, trip):
    """As `original` has it: neither by a search nor in what completes a field of a form."""
    message = Message(conversation=trip, sender=trip.rider, text="call +998 90 123 45 67")
    message.save()
    assert "•••" in message.text
    client.force_login(make_user("admin"))
    messages = reverse("admin:chat_message_changelist")
    for text in ("998", '"123 45"', "^call +998", "=call +998 90 123 45 67"):
        assert list(client.get(messages, {"q": text}).context["cl"].result_list) == []
    page = client.get(messages, {"q": "call", "_facets": "True"})
    assert list(page.context["cl"].result_list) == [message]
    pages = [page] + [
        client.get(reverse(f"admin:chat_message_{name}", args=[message.pk]))
        for name in ("change", "history")
    ]
    assert not any("123 45" in page.content.decode() for page in pages)


def test_the_key_of_a_device_is_found_by_no_road(client, make_user):
    user = make_user("rider")
    device = Device.objects.create(user=user, platform="android", token="secret-9", name="Pixel")
    client.force_login(make_user("admin"))
    devices = reverse("admin:push_device_changelist")
    assert list(client.get(devices, {"q": "secret"}).context["cl"].result_list) == []
    assert list(client.get(devices, {"q": "Pixel"}).context["cl"].result_list) == [device]
    places = [
        reverse(f"admin:push_device_{name}", args=[device.pk]) for name in ("change", "delete")
    ]
    places += [devices, reverse("admin:accounts_user_delete", args=[user.pk])]
    for place in places:
        page = client.get(place)
        assert page.status_code == 200
        assert "secret-9" not in page.content.decode()


@pytest.mark.parametrize(
    ("field", "term"), [("conversation", "umbrella"), ("conversation", "blue")]
)
def test_a_subject_is_not_found_out_by_what_completes_a_field(client, make_user, field, term):
    row = Conversation.objects.create(subject="my blue umbrella")
    client.force_login(make_user("admin"))
    asked = {"app_label": "chat", "model_name": "message", "field_name": field}
    place = reverse("admin:autocomplete")
    assert client.get(place, asked | {"term": term}).json()["results"] == []
    (found,) = client.get(place, asked | {"term": row.pk}).json()["results"]
    assert found["text"] == f"Support {row.pk}"


def test_a_word_of_a_notification_is_not_found_out_either(client, make_user):
    Notification.objects.create(recipient=make_user("rider"), title="x", message="umbrella")
    client.force_login(make_user("admin"))
    asked = {"app_label": "push", "model_name": "push", "field_name": "notification"}
    found = client.get(reverse("admin:autocomplete"), asked | {"term": "umbrella"})
    assert (found.status_code, found.json()["results"]) == (200, [])


@pytest.mark.parametrize("one", admins(), ids=named)
def test_a_number_that_no_column_holds_is_no_error_of_the_server(one, client, make_user):
    client.force_login(make_user("admin"))
    name = f"{one.opts.app_label}_{one.opts.model_name}"
    page = reverse(f"admin:{name}_changelist")
    asked = [(lookup, "9" * 20) for lookup in {"id__in", "pk__exact", *one._offered(None)}]
    for lookup, number in [*asked, ("pk__in", "9" * 4_400), ("pk__in", "x"), ("pk", "²")]:
        assert client.get(page, {lookup: number}).status_code in (200, 302, 400), lookup
    change = client.get(reverse(f"admin:{name}_change", args=("9" * 20,)))
    assert change.status_code in (302, 403)


NO_KEYS = ("x", "", "\0", "1.5", "NaN", "9" * 20, "9" * 4_400, "-1", "1\n2", "[]", "é")


@pytest.mark.parametrize("one", admins(), ids=named)
def test_a_forged_selection_of_an_action_is_no_error_of_the_server(one, client, make_user):
    user = make_user("admin")
    client.force_login(user)
    page = reverse(f"admin:{one.opts.app_label}_{one.opts.model_name}_changelist")
    for action in ("delete_selected", *one.actions, "nonsense"):
        for key in NO_KEYS:
            for confirmed in ({}, {"post": "yes"}, {"select_across": "1"}):
                ticked = {"action": action, "_selected_action": [key, "0"], "index": key}
                answer = client.post(page, ticked | confirmed)
                assert answer.status_code in (200, 302, 403), (action, key)
    assert get_user_model().objects.filter(pk=user.pk).exists()


@pytest.mark.parametrize("one", admins(), ids=named)
def test_a_forged_key_in_a_form_is_no_error_of_the_server(one, client, make_user):
    client.force_login(make_user("admin"))
    page = reverse(f"admin:{one.opts.app_label}_{one.opts.model_name}_add")
    request = request_of_superuser()
    inlines = [
        formset.get_default_prefix() for formset, _ in one.get_formsets_with_inlines(request)
    ]
    forms = {f"{prefix}-{n}_FORMS": 1 for prefix in inlines for n in ("TOTAL", "INITIAL")}
    fields = [field.name for field in one.model._meta.fields if field.is_relation]
    for key in NO_KEYS:
        asked = dict.fromkeys(fields, key)
        of_inlines = {f"{prefix}-0-{name}": key for prefix in inlines for name in ("id", "user")}
        assert client.get(page, asked).status_code in (200, 403), key
        posted = client.post(page, asked | forms | of_inlines)
        assert posted.status_code in (200, 302, 403), key


def test_what_was_ticked_beside_a_forged_key_is_still_acted_on(client, make_user):
    reply = CannedReply.objects.create(code="hello", text="Hello")
    client.force_login(make_user("admin"))
    ticked = {"action": "delete_selected", "_selected_action": ["x", reply.pk], "post": "yes"}
    assert client.post(reverse("admin:chat_cannedreply_changelist"), ticked).status_code == 302
    assert not CannedReply.objects.exists()


def test_a_key_in_the_address_of_a_form_is_filled_in(client, make_user):
    rider = make_user("rider")
    client.force_login(make_user("admin"))
    page = client.get(reverse("admin:push_preference_add"), {"user": rider.pk}).content.decode()
    assert f'<option value="{rider.pk}" selected' in page
