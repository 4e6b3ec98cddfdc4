"""The defences: what each is for, the text that makes it, what stands there without it, and the
test that must go red then.
"""

from typing import NamedTuple

_R = "holodrive/realtime"
_T = f"{_R}/tests"


class Defence(NamedTuple):
    """`text` stands in `file` exactly once; `test` is a pytest node id."""

    name: str
    file: str
    text: str
    without: str
    test: str
    database: str = "sqlite"


DEFENCES = (
    # Order, once, and nothing lost
    Defence(
        "a resume holds live events back",
        f"{_R}/consumer.py",
        "            subscription.hold()\n            try:",
        "            try:",
        "chat/tests/test_socket.py::test_what_comes_during_a_resume_comes_behind_it",
    ),
    Defence(
        "a join holds live events back",
        f"{_R}/hub.py",
        "        self.held: list[tuple[int, SharedFrame]] | None = []",
        "        self.held: list[tuple[int, SharedFrame]] | None = None",
        f"{_T}/test_hub.py::test_who_joins_a_stream_in_use_gets_nothing_before_the_first_frame",
    ),
    Defence(
        "each subscription drops what it has",
        f"{_R}/hub.py",
        "        elif seq > self.cursor:\n            self.cursor = seq\n            self.outbox",
        "        else:\n            self.cursor = seq\n            self.outbox",
        f"{_T}/test_hub.py::test_a_socket_that_joins_later_gets_only_what_follows_its_own_snapshot",
    ),
    Defence(
        "who releases behind another gets what lies between",
        f"{_R}/hub.py",
        "        if cursor < self.topic.begun:",
        "        if False:",
        f"{_T}/test_hub.py::test_who_releases_behind_another_gets_what_lies_between",
    ),
    Defence(
        "an echo and a duplicate fall",
        f"{_R}/hub.py",
        "        elif seq == self.cursor + 1:\n            self.send(seq, text)",
        "        else:\n            self.send(seq, text)",
        f"{_T}/test_hub.py::test_an_echo_neither_comes_again_nor_delays_what_follows",
    ),
    Defence(
        "wake-ups of another version are not read",
        f"{_R}/hub.py",
        "        if not publish.is_of_this_version(message):",
        "        if False:",
        f"{_T}/test_hub.py"
        "::test_a_wake_up_of_another_version_is_not_read_and_reconcile_brings_its_event",
    ),
    Defence(
        "streams of a restored database go on behind a gap",
        f"{_R}/restoration.py",
        'update(head=F("head") + GAP)',
        'update(head=F("head"))',
        f"{_T}/test_restore.py::test_who_is_ahead_of_a_restored_stream_reloads",
    ),
    Defence(
        "so do those that the backup has not",
        f"{_R}/restoration.py",
        "            Stream.objects.bulk_create(rows, ignore_conflicts=True)",
        "            pass",
        f"{_T}/test_restore.py::test_a_stream_that_the_backup_has_not_is_behind_the_gap_as_well",
    ),
    Defence(
        "no id is given away twice after a restore",
        f"{_R}/restoration.py",
        "    advance(names)",
        "    pass",
        f"{_T}/test_restore.py::test_nobody_gets_the_number_of_a_user_who_was_lost",
    ),
    Defence(
        "a deploy brings the sockets back spread over time",
        f"{_R}/drain.py",
        "        for socket, delay_ms in zip(sockets, delays(len(sockets), self._seconds), strict=True):",
        "        for socket, delay_ms in ((socket, 0) for socket in sockets):",
        "testing/soak/tests/test_soak.py::test_a_proof_holds_in_its_short_form[rolling]",
    ),
    Defence(
        "a jump is repaired from the log",
        f"{_R}/hub.py",
        "                topic.repair = self.loop.call_later(_STRAGGLERS, self._repair_gap, topic)",
        "                pass",
        f"{_T}/test_hub.py::test_a_jump_is_read_from_the_log",
    ),
    Defence(
        "an acknowledged SUBSCRIBE reads the log",
        f"{_R}/hub.py",
        "            self.layer.loop_layer().on_confirmed = self._confirmed",
        "            pass",
        f"{_T}/test_hub.py::test_what_was_committed_before_redis_has_confirmed_the_join_arrives",
    ),
    Defence(
        "a join confirmed during its snapshot is verified behind it",
        f"{_R}/hub.py",
        "            topic.unverified = True",
        "            pass",
        f"{_T}/test_hub.py::test_a_join_confirmed_during_the_snapshot_is_verified_behind_it",
    ),
    Defence(
        "reconcile delivers without Redis",
        f"{_R}/hub.py",
        "        await self._catch_up(newest)",
        "        del newest",
        f"{_T}/test_server.py::test_without_redis_a_save_succeeds_and_arrives_all_the_same[kill]",
    ),
    Defence(
        "reconcile looks back for commits out of the order of ids",
        f"{_R}/hub.py",
        "        tail = await in_database(log.tail, self._reconciled_to[0])",
        "        tail = await in_database(log.tail, self._reconciled_to[-1])",
        f"{_T}/test_hub.py::test_reconcile_sees_what_commits_behind_a_greater_id",
    ),
    Defence(
        "a pruned stream makes its sockets resume",
        f"{_R}/hub.py",
        "            subscription.outbox.close(CloseCode.TOO_SLOW)",
        "            pass",
        f"{_T}/test_hub.py::test_when_the_log_was_pruned_the_sockets_must_resume",
    ),
    Defence(
        "the streams of one save are locked in one order",
        f"{_R}/log.py",
        "        wanted = sorted(set(names) - self._locked.keys())",
        "        wanted = list(set(names) - self._locked.keys())",
        f"{_T}/test_log.py::test_the_streams_of_one_write_are_locked_in_one_order",
    ),
    Defence(
        "a save locks its streams before it writes its row",
        f"{_R}/published.py",
        "        with log.writing(*self.streams()):\n            super().save(*args, **kwargs)",
        "        super().save(*args, **kwargs)",
        f"{_T}/test_log.py::test_each_save_is_one_event_with_the_next_number",
    ),
    Defence(
        "what a savepoint takes back is no event",
        f"{_R}/log.py",
        "        if not dead:\n            return",
        "        if True:\n            return",
        f"{_T}/test_log.py::test_a_savepoint_taken_back_inside_a_save_takes_its_events_along",
    ),
    Defence(
        "nothing is published before the commit",
        f"{_R}/log.py",
        "            transaction.on_commit(lambda: publish.announce(events, told), robust=True)",
        "            publish.announce(events, told)",
        f"{_T}/test_database.py::test_nothing_arrives_before_the_commit_and_nothing_after_a_rollback",
    ),
    Defence(
        "a resume brings all of it or says so",
        f"{_R}/log.py",
        "    return rows if len(rows) == head - last_seq else None",
        "    return rows",
        f"{_T}/test_log.py::test_missed_events_are_all_of_them_or_none",
    ),
    Defence(
        "a page's head is read before its rows",
        "chat/api.py",
        "        return page(request, services.messages_of(conversation), events.chat_message, head)",
        "        shown = page(request, services.messages_of(conversation), events.chat_message, head)\n"
        '        shown.data["last_seq"] = log.heads([stream]).get(stream, 0)\n'
        "        return shown",
        "chat/tests/test_api.py::test_what_is_said_while_a_page_is_read_is_behind_its_last_seq",
    ),
    Defence(
        "a message is stored once",
        "chat/sending.py",
        "    if sent is not None:",
        "    if False:",
        "chat/tests/test_socket.py::test_the_same_client_message_id_stores_one_row_and_acks_twice",
    ),
    Defence(
        "two messages of one conversation never share a transaction",
        f"{_R}/group_commit.py",
        "            if key in taken or len(taken) == _AT_ONCE:",
        "            if len(taken) == _AT_ONCE:",
        "chat/tests/test_sending.py::test_two_of_one_conversation_never_share",
    ),
    Defence(
        "one that fails in a shared transaction spoils no other",
        f"{_R}/group_commit.py",
        "            if not isinstance(problem, FAULTS) or log.lost_a_lock(problem):",
        "            if False:",
        "chat/tests/test_sending.py::test_one_that_a_receiver_refuses_spoils_no_other",
    ),
    Defence(
        "what a lost connection may have stored is not stored again",
        f"{_R}/group_commit.py",
        "            if not isinstance(problem, FAULTS) or log.lost_a_lock(problem):",
        "            if True:",
        "chat/tests/test_sending.py"
        "::test_when_the_database_fails_all_are_told_and_none_is_tried_again",
    ),
    Defence(
        "nobody waits long for a transaction that hangs",
        f"{_R}/group_commit.py",
        "loop.call_later(_PATIENCE, self._start, queue)",
        "loop.call_later(3600, self._start, queue)",
        "chat/tests/test_sending.py::test_a_transaction_that_hangs_is_waited_for_only_so_long",
    ),
    Defence(
        "nobody waits long for the locked conversation of another",
        f"{_R}/log.py",
        '    if patience is not None and connection.vendor == "postgresql":',
        "    if False:",
        "chat/tests/test_sending.py::test_a_locked_conversation_holds_nobody_else_up",
        "postgresql",
    ),
    Defence(
        "a message's number is that of its event",
        "chat/signals.py",
        "        if log.append(stream, events.chat_message(instance)) != instance.seq:",
        "        if log.append(stream, events.chat_message(instance)) < 0:",
        "chat/tests/test_sending.py::test_a_receiver_may_answer_in_another_conversation",
    ),
    Defence(
        "bulk writes are refused",
        f"{_R}/published.py",
        "    bulk_create = bulk_update = update = delete = _refuse",
        "    bulk_create_ = _refuse",
        f"{_T}/test_log.py::test_a_bulk_write_that_would_tell_nobody_is_refused_and_names_the_way",
    ),
    Defence(
        "a deleted text leaves the log",
        "chat/services.py",
        "        _scrub_log(stream, message_id)\n",
        "",
        "chat/tests/test_editing.py::test_a_deleted_text_is_nowhere_any_more",
    ),
    Defence(
        "read marks only move forward",
        "chat/cursors.py",
        '            last_read_id=Greatest("last_read_id", read),',
        "            last_read_id=read,",
        "chat/tests/test_receipts.py::test_what_is_delivered_behind_a_read_mark_leaves_it_where_it_is",
    ),
    Defence(
        "a Redis that does not answer is left alone",
        f"{_R}/publish.py",
        "        return self._clock() >= self._closed_until",
        "        return True",
        f"{_T}/test_outbox.py::test_a_breaker_lets_one_try_through_after_its_pause",
    ),
    # Who comes in
    Defence(
        "a foreign Origin is refused",
        f"{_R}/credentials.py",
        "    return OriginRule.FOREIGN",
        "    return OriginRule.ALLOWED",
        f"{_T}/test_clients.py::test_origin_rule[foreign-websockets]",
    ),
    Defence(
        "an Origin is compared with its port",
        f"{_R}/credentials.py",
        "    return parts.scheme, parts.hostname, port",
        "    return parts.scheme, parts.hostname, None",
        f"{_T}/test_clients.py::test_origin_rule[listed, another port-websockets]",
    ),
    Defence(
        "a host that is not ours makes no Origin its own",
        f"{_R}/credentials.py",
        "    if not domain or not validate_host(domain, allowed_hosts):",
        "    if not domain:",
        f"{_T}/test_clients.py::test_a_host_that_is_not_ours_makes_no_origin_its_own[websockets]",
    ),
    Defence(
        "a session needs an Origin",
        f"{_R}/consumer.py",
        "        if origin is OriginRule.MISSING and cookie is not None:",
        "        if False:",
        f"{_T}/test_clients.py::test_origin_rule[none-websockets]",
    ),
    Defence(
        "a wrong credential never falls through to the next",
        f"{_R}/auth.py",
        "    if credential is not None:\n        return",
        "    if credential is not None and session is None:\n        return",
        f"{_T}/test_clients.py::test_of_two_credentials_the_higher_one_decides_alone"
        "[path-session-websockets]",
    ),
    Defence(
        "the id in the path is the token's own",
        f"{_R}/auth.py",
        "    if credential.user_id is not None and credential.user_id != str(identity.user.pk):",
        "    if False:",
        f"{_T}/test_clients.py::test_the_user_id_in_the_path_must_be_the_tokens_own[websockets]",
    ),
    Defence(
        "a refresh token opens nothing",
        f"{_R}/auth.py",
        "        token = AccessToken(credential.token)",
        "        from rest_framework_simplejwt.tokens import UntypedToken\n\n"
        "        token = UntypedToken(credential.token)",
        f"{_T}/test_clients.py::test_a_bad_token_is_refused_in_every_form[a refresh token-websockets]",
    ),
    Defence(
        "a login that was ended opens nothing",
        f"{_R}/tokens.py",
        "    if sid is not None and RevokedSession.objects.filter(sid=sid).exists():",
        "    if False:",
        f"{_T}/test_clients.py::test_a_logout_ends_that_login_and_no_other[websockets]",
    ),
    Defence(
        "of two refreshes with one token one wins",
        f"{_R}/tokens.py",
        "        if not added:\n            raise TokenError(_USED)",
        "        if not added:\n            pass",
        f"{_T}/test_keys.py::test_of_two_refreshes_with_one_token_at_once_exactly_one_wins",
        "postgresql",  # SQLite's second transaction waits at its beginning
    ),
    Defence(
        "a ticket is used up",
        f"{_R}/tickets.py",
        "    deleted, _ = Ticket.objects.filter(pk=row.pk).delete()\n    return row if deleted else None",
        "    return row",
        f"{_T}/test_tickets.py::test_a_ticket_opens_one_socket_and_no_second",
    ),
    Defence(
        "of two at the same moment one gets the ticket",
        f"{_R}/tickets.py",
        "    return row if deleted else None",
        "    return row",
        f"{_T}/test_tickets.py::test_of_many_at_the_same_moment_one_gets_it",
        "postgresql",
    ),
    Defence(
        "a ticket is good for thirty seconds",
        f"{_R}/tickets.py",
        ", expires_at__gt=timezone.now()",
        "",
        f"{_T}/test_tickets.py::test_a_ticket_is_good_for_thirty_seconds",
    ),
    Defence(
        "a conversation is its members'",
        "chat/models.py",
        "        return self.filter(participants__user=user, participants__role__in=roles)",
        "        return self",
        "chat/tests/test_socket.py::test_what_is_not_this_users_conversation_looks_like_none",
    ),
    Defence(
        "a message is its sender's",
        "chat/services.py",
        "    if message.sender_id != user.pk:",
        "    if False:",
        "chat/tests/test_editing.py::test_a_message_is_its_senders",
    ),
    Defence(
        "a message can be edited for fifteen minutes",
        "chat/services.py",
        "        if message.created_at + EDITABLE < timezone.now():",
        "        if False:",
        "chat/tests/test_editing.py"
        "::test_after_fifteen_minutes_a_message_is_deleted_but_not_edited",
    ),
    Defence(
        "a closed conversation takes no message",
        "chat/sending.py",
        "    if conversation.is_closed():",
        "    if False:",
        "chat/tests/test_socket.py::test_a_closed_conversation_takes_no_message",
    ),
    Defence(
        "logins are throttled",
        "holodrive/accounts/throttle.py",
        "        if limit and counts.add(name) > limit:",
        "        if False:",
        "holodrive/accounts/tests/test_login.py"
        "::test_after_three_failures_even_the_right_password_has_to_wait",
    ),
    # Who has to leave
    Defence(
        "a token's end closes its socket",
        f"{_R}/consumer.py",
        "        self._lifetime.lasts(self.identity.expires_at)\n        subscription",
        "        subscription",
        f"{_T}/test_access.py::test_a_socket_is_warned_and_closed_when_its_token_expires",
    ),
    Defence(
        "a logout closes the sockets of that login",
        f"{_R}/hub.py",
        "                socket.log_out()",
        "                pass",
        f"{_T}/test_access.py::test_a_logout_closes_that_device_on_every_process_and_no_other",
    ),
    Defence(
        "a changed account is out",
        f'{_R}/hub.py',
        '            if doubt.kind == "user":\n                socket.judge()',
        '            if doubt.kind == "user":\n                pass',
        f"{_T}/test_access.py::test_a_changed_account_is_out_on_every_process[deactivated]",
    ),
    Defence(
        "who is removed gets nothing behind the removal",
        f"{_R}/hub.py",
        "            if frame.removes == self.user_id:",
        "            if False:",
        f"{_T}/test_access.py::test_a_removal_arrives_without_redis_as_well",
    ),
    Defence(
        "what nobody told is found by looking",
        f"{_R}/hub.py",
        "                if socket.identity in doubtful:",
        "                if False:",
        f"{_T}/test_access.py::test_what_nobody_told_is_found_by_looking",
    ),
    Defence(
        "a doubt that is heard during a login is not lost",
        f"{_R}/hub.py",
        "                self._cast(doubt, [socket])",
        "                pass",
        f"{_T}/test_access.py::test_a_doubt_heard_while_one_is_authenticated_is_not_lost",
    ),
    # How much one may ask for
    Defence(
        "an outbox is bounded",
        f"{_R}/outbox.py",
        "            if after > self._limit:",
        "            if False:",
        f"{_T}/test_outbox.py::test_over_the_limit_the_socket_closes_with_4408",
    ),
    Defence(
        "a resume waits for its reader, but not for ever",
        f"{_R}/outbox.py",
        "        except TimeoutError:\n            self.close(CloseCode.TOO_SLOW)",
        "        except TimeoutError:\n            pass",
        f"{_T}/test_outbox.py::test_a_reader_that_takes_nothing_is_too_slow_for_a_resume",
    ),
    Defence(
        "a full inbox gives the other sockets their turn",
        f"{_R}/server.py",
        "        if self._taken % _FRAMES_IN_A_TURN == 0:",
        "        if False:",
        f"{_T}/test_outbox.py::test_a_full_inbox_gives_the_other_sockets_their_turn",
    ),
    Defence(
        "what may be lost is dropped first",
        f"{_R}/outbox.py",
        "            if ephemeral and 2 * after > self._limit:",
        "            if False:",
        f"{_T}/test_outbox.py::test_over_half_of_the_limit_only_what_is_in_the_log_goes_out",
    ),
    Defence(
        "a long inbox pauses reading",
        f"{_R}/server.py",
        "        if is_full and not self._is_paused:",
        "        if False:",
        f"{_T}/test_outbox.py::test_reading_pauses_while_a_long_inbox_is_worked_off",
    ),
    Defence(
        "twenty bad frames in a row close",
        f"{_R}/consumer.py",
        "            if self._bad_in_a_row >= _BAD_FRAMES_IN_A_ROW:",
        "            if False:",
        "chat/tests/test_socket.py::test_twenty_bad_frames_in_a_row_close_the_socket",
    ),
    Defence(
        "frames are limited",
        f"{_R}/limits.py",
        "        if self._left < 1:",
        "        if False:",
        f"{_T}/test_limits.py::test_a_frame_too_many_is_answered_and_not_obeyed",
    ),
    Defence(
        "ten seconds over the frame limit close",
        f"{_R}/consumer.py",
        "        if self._frames.is_exhausted():",
        "        if False:",
        f"{_T}/test_limits.py::test_ten_seconds_of_too_many_close_the_socket",
    ),
    Defence(
        "sockets of a user are limited",
        f"{_R}/consumer.py",
        "        if most and len(self.hub.users[self.user.pk]) > most:",
        "        if False:",
        f"{_T}/test_limits.py::test_one_socket_too_many_is_told_and_closed_and_the_others_stay",
    ),
    Defence(
        "connects of a user are limited",
        f"{_R}/consumer.py",
        "        if most and self.hub.connects.count(self.user.pk) > most:",
        "        if False:",
        f"{_T}/test_limits.py::test_too_many_connects_of_a_user_are_told_and_closed",
    ),
    Defence(
        "failed connects of an address are limited",
        f"{_R}/consumer.py",
        "        if most and self.hub.failed_connects.counted(address) >= most:",
        "        if False:",
        f"{_T}/test_limits.py::test_only_failures_count_against_an_address",
    ),
    Defence(
        "a frame has a largest size",
        f"{_R}/wire.py",
        "            if self._max_bytes and len(raw) > self._max_bytes:",
        "            if False:",
        "chat/tests/test_socket.py::test_a_bad_frame_gets_an_error_and_loses_nothing[65,537 bytes]",
    ),
    Defence(
        "NUL is in no text",
        f"{_R}/wire.py",
        '    if "\\x00" in text:',
        "    if False:",
        "chat/tests/test_socket.py::test_a_bad_frame_gets_an_error_and_loses_nothing[NUL]",
    ),
    # What is written and what is said
    Defence(
        "the log is redacted",
        f"{_R}/redaction.py",
        '    return _SECRETS.sub(lambda found: (found["path"] or found["query"] or "") + "[redacted]", text)',
        "    return text",
        f"{_T}/test_redaction.py::test_the_arguments_of_a_log_call_are_redacted",
    ),
    Defence(
        "the log's handler has its filter",
        "holodrive/settings.py",
        '            "filters": ["tokens"],\n',
        "",
        f"{_T}/test_clients.py::test_no_token_is_in_any_line_of_the_log[uvicorn]",
    ),
    Defence(
        "the plain daphne command is redacted",
        "holodrive/asgi.py",
        "\nredact_plain_daphne()\n",
        "\n",
        f"{_T}/test_clients.py::test_no_token_is_in_any_line_of_the_log[daphne]",
    ),
    Defence(
        "a server that stops says so",
        f"{_R}/drain.py",
        "            socket.announce_restart(delay_ms)",
        "            pass",
        f"{_T}/test_stop.py::test_every_socket_is_told_when_to_come_back_and_closes_with_1012[2]",
    ),
    Defence(
        "a server that stops closes with 1012",
        f"{_R}/drain.py",
        "                socket.restart()",
        '                socket.end(1001, "")',
        f"{_T}/test_stop.py::test_every_socket_is_told_when_to_come_back_and_closes_with_1012[2]",
    ),
    Defence(
        "commands that do not end are cut off with 1012",
        f"{_R}/drain.py",
        "                socket.end(CloseCode.RESTART, CloseCode.RESTART.reason)",
        '                socket.end(1001, "")',
        f"{_T}/test_stop.py::test_commands_that_do_not_end_in_time_are_cut_off_with_1012_as_well",
    ),
    Defence(
        "presence of a process that died ends",
        f"{_R}/presence.py",
        "        if alive_at < now - self._seconds:",
        "        if False:",
        f"{_T}/test_presence.py::test_a_killed_process_ends_once_and_its_users_with_it",
    ),
    Defence(
        "a server that stops takes no newcomers",
        f"{_R}/drain.py",
        "        Operations.draining = True  # /readyz says so, and new sockets are refused",
        "        pass",
        f"{_T}/test_stop.py"
        "::test_while_it_stops_readiness_fails_newcomers_are_refused_and_requests_are_answered",
    ),
)  # fmt: skip
