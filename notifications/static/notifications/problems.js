// @ts-check
// Texts for problems, in the page's language: the server's own `message` is English, and for programmers.

import { RealtimeError } from "../realtime/holodrive-realtime.js";
import { gettext } from "./texts.js";

/** By the codes of docs/reference/protocol.md; functions, so that each is looked up when it is shown. @type {Record<string, () => string>} */
const TEXTS = {
  already_claimed: () => gettext("Somebody else has this conversation."),
  another_user: () => gettext("Another user is logged in now. Reload the page."),
  closed: () => gettext("The server could not be reached."),
  conversation_closed: () => gettext("This conversation is closed."),
  forbidden: () => gettext("You may not do this."),
  idempotency_conflict: () => gettext("This was sent already, with another text."),
  internal: () => gettext("The server could not do this. Try again."),
  not_found: () => gettext("This is not there any more."),
  rate_limited: () => gettext("That was too much at once. Try again in a moment."),
  too_large: () => gettext("This is too large to be sent."),
  too_many_sockets: () => gettext("You have too many pages open. Close one."),
  token_expired: () => gettext("You are signed out."),
  unauthenticated: () => gettext("You are signed out."),
  unavailable: () => gettext("The server is busy. Try again in a moment."),
};

/** @param {unknown} problem what a request, a command or a connection ended with */
export function problemText(problem) {
  if (!(problem instanceof RealtimeError)) return gettext("The server could not be reached.");
  const text = Object.hasOwn(TEXTS, problem.code) ? TEXTS[problem.code] : undefined;
  return text?.() ?? gettext("The server did not accept this.");
}
