// @ts-check
// What is shown of the words of a notification, which are stored as the apps know them.

const PREFIX = "New message in conversation: ";
const WHOLE_BELOW = 50; // code points; the stored text goes on with "..." even where the message was no longer

/**
 * Of a message, what it says: that it is new stands in the title, and where in the link.
 * @param {{notification_type: string, message: string}} notification
 */
export function messageText({ notification_type: type, message }) {
  if (type !== "chat_message" || !message.startsWith(PREFIX)) return message;
  const said = message.slice(PREFIX.length);
  const whole = said.replace(/\.\.\.$/, "");
  return Array.from(whole).length < WHOLE_BELOW ? whole : said;
}
