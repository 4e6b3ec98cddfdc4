// @ts-check
// What is shown of the words of a notification, which are stored as the apps know them.

import { charactersOf } from "./characters.js";

const PREFIX = "New message in conversation: ";
const WHOLE_BELOW = 50; // characters; the stored text goes on with "..." even where the message was no longer
const ISOLATED = /^\u2068(.*)\u2069$/gm; // as the server does for its sentence; here the text has a place of its own

/**
 * Of a message, what it says: that it is new stands in the title, and where in the link.
 * @param {{notification_type: string, message: string}} notification
 */
export function messageText({ notification_type: type, message }) {
  if (type !== "chat_message" || !message.startsWith(PREFIX)) return message;
  const said = message.slice(PREFIX.length);
  const whole = said.replace(/\.\.\.$/, "").replace(ISOLATED, "$1");
  return charactersOf(whole).length < WHOLE_BELOW ? whole : said;
}
