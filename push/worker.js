// The admin's service worker: shows what is pushed while its pages are closed or in the background, and takes away what
// was read elsewhere. It answers no requests of pages, and keeps nothing.

/**
 * @typedef {{type: "show", tag: string, unread_count: number,
 *   notification: {id: number, title: string, message: string, created_at: string}}} Show
 * @typedef {{type: "clear", tag: string, unread_count: number, up_to_id: number}} Clear
 */

self.addEventListener("push", (event) => event.waitUntil(take(event.data.json())));

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data.id));
});

/** @param {Show | Clear} content */
async function take(content) {
  if (content.type === "show") await show(content);
  else if (content.type === "clear") await clear(content);
  navigator.setAppBadge?.(content.unread_count);
}

/** In place of what has that tag. A push may come twice, and late: it rings only for what is new. @param {Show} content */
async function show({ tag, notification: { id, title, message, created_at } }) {
  const shown = await registration.getNotifications({ tag });
  const newest = Math.max(0, ...shown.map(({ data }) => data.id));
  if (newest > id) return;
  const renotify = newest > 0 && newest < id;
  await registration.showNotification(title, {
    body: message,
    tag,
    renotify,
    timestamp: Date.parse(created_at),
    data: { id },
  });
}

/** @param {Clear} content */
async function clear({ tag, up_to_id }) {
  for (const shown of await registration.getNotifications({ tag })) if (shown.data.id <= up_to_id) shown.close();
}

/** In a page of the admin that is there, or else in a new one. @param {number} id */
async function open(id) {
  const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
  const ours = windows.filter(({ url }) => url.startsWith(registration.scope));
  const page = ours.find(({ focused }) => focused) ?? ours.find((one) => one.visibilityState === "visible") ?? ours[0];
  if (page === undefined) {
    await clients.openWindow(registration.scope);
    return;
  }
  await page.focus();
  page.postMessage({ kind: "open-notification", id });
}
