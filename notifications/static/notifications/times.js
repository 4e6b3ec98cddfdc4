// @ts-check
// Times as people say them, in the language of the page. Not Intl's words: browsers have none for Uzbek, and would
// put English ones, or "M11", between the translated texts.

import { fill, gettext, pgettext } from "./texts.js";

const LANGUAGE = document.documentElement.lang || undefined;
const CLOCK = new Intl.DateTimeFormat(LANGUAGE, { hour: "numeric", minute: "2-digit" });
const MONTHS = [
  pgettext("month in a date", "Jan"),
  pgettext("month in a date", "Feb"),
  pgettext("month in a date", "Mar"),
  pgettext("month in a date", "Apr"),
  pgettext("month in a date", "May"),
  pgettext("month in a date", "Jun"),
  pgettext("month in a date", "Jul"),
  pgettext("month in a date", "Aug"),
  pgettext("month in a date", "Sep"),
  pgettext("month in a date", "Oct"),
  pgettext("month in a date", "Nov"),
  pgettext("month in a date", "Dec"),
];
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** "Nov 23, 2026". @param {Date} date */
export function dateText(date) {
  const [day, month, year] = [date.getDate(), MONTHS[date.getMonth()], date.getFullYear()];
  return fill(gettext("%(month)s %(day)s, %(year)s"), { day, month, year });
}

/** "8:31 PM", or "20:31". @param {Date} date */
export function clockText(date) {
  return CLOCK.format(date);
}

/** "5 min ago"; from a week on, the date. @param {Date} date @param {number} [now] in milliseconds */
export function agoText(date, now = Date.now()) {
  const seconds = Math.floor((now - date.getTime()) / 1000);
  if (seconds < MINUTE) return gettext("just now");
  if (seconds < HOUR) return fill(gettext("%(count)s min ago"), { count: Math.floor(seconds / MINUTE) });
  if (seconds < DAY) return fill(gettext("%(count)s h ago"), { count: Math.floor(seconds / HOUR) });
  if (seconds < 7 * DAY) return fill(gettext("%(count)s d ago"), { count: Math.floor(seconds / DAY) });
  return dateText(date);
}
