// @ts-check
// What the console says: times, names, statuses. Touches no page.

import { initialsOf } from "../../notifications/characters.js";
import { fill, gettext } from "../../notifications/texts.js";
import * as times from "../../notifications/times.js";

export { fill, gettext, ngettext } from "../../notifications/texts.js";

const LANGUAGE = globalThis.document?.documentElement.lang || undefined;

/** Whole days from the day of `then` to today. @param {Date} then */
function daysAgo(then) {
  const midnight = (/** @type {Date} */ date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  return Math.round((midnight(new Date()) - midnight(then)) / 86_400_000);
}

/** @param {string} timestamp */
export function clockText(timestamp) {
  return times.clockText(new Date(timestamp));
}

/** @param {string} timestamp */
export function momentText(timestamp) {
  const then = new Date(timestamp);
  return `${times.dateText(then)}, ${times.clockText(then)}`;
}

/** "Today", "Yesterday", "Nov 3, 2026". @param {string} timestamp */
export function dayText(timestamp) {
  const then = new Date(timestamp);
  const ago = daysAgo(then);
  if (ago === 0) return gettext("Today");
  return ago === 1 ? gettext("Yesterday") : times.dateText(then);
}

/** The day, to compare. @param {string} timestamp */
export function dayOf(timestamp) {
  return new Date(timestamp).toDateString();
}

/** For the list: the time today, else the day. @param {string} timestamp */
export function shortTimeText(timestamp) {
  return daysAgo(new Date(timestamp)) === 0 ? clockText(timestamp) : dayText(timestamp);
}

/** "5 min ago"; never the future, whatever the clocks say. @param {string} timestamp */
export function agoText(timestamp) {
  return times.agoText(new Date(timestamp));
}

/** "waiting 21 min"; the first minute counts as one. @param {string} since */
export function waitingText(since) {
  const minutes = minutesSince(since);
  if (minutes < 60) return fill(gettext("waiting %(count)s min"), { count: Math.max(1, minutes) });
  if (minutes < 24 * 60) return fill(gettext("waiting %(count)s h"), { count: Math.floor(minutes / 60) });
  return fill(gettext("waiting %(count)s d"), { count: Math.floor(minutes / (24 * 60)) });
}

/** @param {string} timestamp */
export function minutesSince(timestamp) {
  return Math.floor((Date.now() - new Date(timestamp).getTime()) / 60_000);
}

/** Up to two letters for an avatar. @param {string} name */
export function initials(name) {
  return initialsOf(name).toLocaleUpperCase(LANGUAGE);
}

/** Functions, so that each is looked up in the language of the page. */
export const STATUS = {
  open: () => gettext("Open"),
  pending: () => gettext("Pending"),
  snoozed: () => gettext("Snoozed"),
  resolved: () => gettext("Resolved"),
  closed: () => gettext("Closed"),
};
export const PRIORITY = {
  low: () => gettext("Low"),
  normal: () => gettext("Normal"),
  high: () => gettext("High"),
  urgent: () => gettext("Urgent"),
};
/** @type {Record<string, () => string>} */
export const ROLE = {
  rider: () => gettext("Rider"),
  driver: () => gettext("Driver"),
  support: () => gettext("Support"),
};
