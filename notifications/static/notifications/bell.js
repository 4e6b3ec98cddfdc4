// @ts-check
// The admin's bell. Inbox is what is known of the notifications, BellView what is seen of them; startBell() at the end
// ties the two to the connection, which feed.js keeps.

import { RealtimeError, retryDelay } from "../realtime/holodrive-realtime.js";
import { Alerts } from "./alerts.js";
import { Feed } from "./feed.js";
import { PushSwitch } from "./push.js";
import { Requests } from "./requests.js";
import { announceLogin, loginLink } from "./session.js";
import { fill, gettext, ngettext } from "./texts.js";
import { agoText, clockText, dateText } from "./times.js";
import { messageText } from "./wording.js";

/**
 * @typedef {import("../realtime/holodrive-realtime.js").Frame} Frame
 * @typedef {import("../realtime/holodrive-realtime.js").Command} Command
 * @typedef {import("../realtime/holodrive-realtime.js").State} State
 * @typedef {{id: number, title: string, message: string, notification_type: string, related_object_type: string,
 *   related_object_id: number | null, created_at: string, status: string}} Item
 * @typedef {{results: Item[], has_more: boolean, last_seq: number, unread_count: number}} Page
 * @typedef {"all" | "unread"} Tab
 */

// What is known

const PAGE_SIZE = 20;

/** The user's latest notifications, and what was asked for but is not confirmed yet. No I/O. */
class Inbox {
  /** @type {Map<number, Item>} */ #byId = new Map();
  /** @type {Set<number>} */ #askedToRead = new Set();
  #askedToReadUpTo = 0;
  #unread;
  #head = 0;
  isLoaded = false;
  hasEarlier = false;

  /** @param {number} unread */
  constructor(unread) {
    this.#unread = unread;
  }

  /** @returns {Item[]} */
  get latestFirst() {
    return [...this.#byId.values()].sort((a, b) => b.id - a.id);
  }

  get newestId() {
    return Math.max(0, ...this.#byId.keys());
  }

  get oldestId() {
    return Math.min(Infinity, ...this.#byId.keys());
  }

  /** As the server says it. */
  get confirmedUnread() {
    return this.#unread;
  }

  /** As the server says it, less what it is still to confirm. */
  get unreadCount() {
    if (this.#askedToReadUpTo) return 0;
    return Math.max(0, this.#unread - this.#askedToRead.size);
  }

  /** Whether there are more than those here: all unread ones may be known before the last page is. @param {Tab} tab */
  hasEarlierIn(tab) {
    return this.hasEarlier && (tab === "all" || this.#unreadHere.length < this.unreadCount);
  }

  /** @param {Tab} tab */
  latestOf(tab) {
    return tab === "all" ? this.latestFirst : this.#unreadHere;
  }

  get #unreadHere() {
    return this.latestFirst.filter((notification) => !this.isRead(notification));
  }

  /** @param {number} id */
  isUnread(id) {
    const notification = this.#byId.get(id);
    return notification !== undefined && !this.isRead(notification);
  }

  /** @param {Item} notification */
  isRead({ id, status }) {
    return status === "read" || id <= this.#askedToReadUpTo || this.#askedToRead.has(id);
  }

  /** Returns what is new and unread in it, the oldest first. @param {Page} page @returns {Item[]} */
  replace(page) {
    const newest = this.isLoaded ? this.newestId : Infinity;
    this.#byId.clear();
    this.isLoaded = true;
    this.#unread = page.unread_count;
    this.addEarlier(page, Infinity);
    return page.results.filter((notification) => notification.id > newest && !this.isRead(notification));
  }

  /** A page asked for before the list was cut or replaced would leave a hole. @param {Page} page @param {number} beforeId */
  addEarlier(page, beforeId) {
    if (beforeId !== this.oldestId) return;
    for (const notification of page.results) this.#byId.set(notification.id, notification);
    this.hasEarlier = page.has_more;
  }

  /** A page that stays open for days must not hold all of them. */
  trim() {
    const surplus = this.latestFirst.slice(PAGE_SIZE);
    for (const { id } of surplus) this.#byId.delete(id);
    this.hasEarlier ||= surplus.length > 0;
  }

  /** Take in one frame, and return the notification that is new with it. @param {Frame} frame @returns {Item | null} */
  apply(frame) {
    if (frame.type === "connection_established") this.#head = frame.last_seq;
    if (this.#countsNow(frame)) this.#unread = frame.unread_count;
    if (frame.type === "notification") return this.#put(frame.notification);
    if (frame.type === "notification_read") this.#markRead(frame);
    return null;
  }

  /** Whether it happened now, and is not caught up on. @param {Frame} frame */
  isLive({ seq = Infinity }) {
    return seq > this.#head;
  }

  /**
   * What is caught up on counts as of then, while the first frame has already said how many there are now. An answer
   * without a seq says that nothing changed, and may be older than the last event.
   * @param {Frame} frame
   */
  #countsNow({ type, seq, unread_count }) {
    if (unread_count === undefined) return false;
    return seq === undefined ? type !== "notification_read" : seq > this.#head;
  }

  /** @param {Item} notification @returns {Item | null} */
  #put(notification) {
    const isNew = notification.id > this.newestId;
    // An edit of one that is not loaded: taking it in would make a hole in the list that nothing fills.
    if (notification.id < this.oldestId && this.hasEarlier) return null;
    this.#byId.set(notification.id, notification);
    return isNew ? notification : null;
  }

  /** @param {Frame} frame */
  #markRead({ notification_id, up_to_id = 0 }) {
    for (const [id, notification] of this.#byId) {
      if (id === notification_id || id <= up_to_id) this.#byId.set(id, { ...notification, status: "read" });
    }
    for (const id of this.#askedToRead) {
      if (id === notification_id || id <= up_to_id) this.#askedToRead.delete(id);
    }
    if (up_to_id >= this.#askedToReadUpTo) this.#askedToReadUpTo = 0;
  }

  /** @param {number} id @returns {Command} */
  askToRead(id) {
    this.#askedToRead.add(id);
    return { type: "mark_as_read", notification_id: id };
  }

  /** Up to what is on the screen: what comes meanwhile was not seen. @returns {Command} */
  askToReadAll() {
    this.#askedToReadUpTo = this.newestId;
    return { type: "mark_all_as_read", up_to_id: this.newestId };
  }

  /** @returns {Command[]} */
  get unconfirmed() {
    const one = [...this.#askedToRead].map((id) => ({ type: "mark_as_read", notification_id: id }));
    return this.#askedToReadUpTo ? [...one, { type: "mark_all_as_read", up_to_id: this.#askedToReadUpTo }] : one;
  }

  forgetUnconfirmed() {
    this.#askedToRead.clear();
    this.#askedToReadUpTo = 0;
  }
}

/**
 * A page of notifications, ascending by id. Throws as `Requests` does; the callers try again in their own time.
 * @param {Requests} requests @param {string} url @param {number} [beforeId] @returns {Promise<Page>}
 */
async function fetchPage(requests, url, beforeId) {
  const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
  if (beforeId !== undefined) query.set("before_id", String(beforeId));
  return requests.ask("GET", `${url}?${query}`, undefined, { most: beforeId === undefined ? 1 : 3 });
}

// What is seen

const TICK_MS = 30_000;
const ANNOUNCE_AFTER_MS = 1_000;
const TOAST_MS = 7_000;
const TOASTS_MOST = 3;
const SVG = "http://www.w3.org/2000/svg";

/** @param {State | "blocked"} state @param {Error} [problem] */
function stateText(state, problem) {
  if (state === "blocked") return gettext("Live updates are blocked here - checking every 15 seconds");
  if (state === "signed-out") return gettext("Signed out");
  if (problem instanceof RealtimeError && problem.code === "another_user") return gettext("Another user is logged in now - reload the page");
  if (state === "stopped") return gettext("Not connected - reload the page");
  if (state === "waiting") {
    return navigator.onLine ? gettext("Reconnecting…") : gettext("Offline - waiting for the network");
  }
  return null; // while connecting, the text before it stays
}

/** @param {number} count */
function countText(count) {
  return count > 99 ? "99+" : String(count);
}

/** The button's name for those who do not see the badge. @param {number} count */
function nameText(count) {
  if (count === 0) return gettext("Notifications");
  return fill(ngettext("Notifications, %(count)s unread", "Notifications, %(count)s unread", count), { count });
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag @param {string} className @param {string} [text]
 */
function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** @param {string} name */
function icon(name) {
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", document.getElementById(`bell-icon-${name}`) ? `#bell-icon-${name}` : "#bell-icon-bell");
  const svg = document.createElementNS(SVG, "svg");
  svg.append(use);
  return svg;
}

/** The button, the panel and the live region of templates/admin/base_site.html. */
class BellView {
  #button;
  #panel;
  #announcer;
  /** @type {Map<number, {notification: Item, node: HTMLLIElement}>} */ #rows = new Map();
  /** @type {Tab} */ #tab = "all";
  /** @type {HTMLButtonElement[]} */ #tabs;
  #toasts;
  #hasFailed = false;
  /** @type {IntersectionObserver | undefined} */ #endInSight;
  /** @type {Item[]} */ #toAnnounce = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #announceTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */ #ticker;

  /** @param {HTMLButtonElement} button @param {HTMLElement} panel @param {HTMLElement} announcer @param {HTMLElement} toasts */
  constructor(button, panel, announcer, toasts) {
    this.#button = button;
    this.#panel = panel;
    this.#announcer = announcer;
    this.#toasts = toasts;
    this.#tabs = [...panel.querySelectorAll("button")].filter((one) => one.role === "tab");
  }

  /**
   * @param {object} user
   * @param {(id: number) => void} user.onRead
   * @param {() => void} user.onReadAll
   * @param {() => void} user.onEarlier
   * @param {() => void} user.onTab
   * @param {(isOpen: boolean) => void} user.onToggle
   */
  listen(user) {
    const list = this.#find(".bell-list");
    list.addEventListener("click", (event) => this.#clicked(event, user.onRead));
    list.addEventListener("auxclick", (event) => event.button === 1 && this.#clicked(event, user.onRead));
    this.#find(".bell-read-all").addEventListener("click", user.onReadAll);
    this.#toasts.addEventListener("click", (event) => this.#clickedToast(event, user.onRead));
    this.#find(".bell-earlier").addEventListener("click", user.onEarlier);
    const root = this.#find(".bell-scroll");
    this.#endInSight = new IntersectionObserver(([end]) => end.isIntersecting && user.onEarlier(), { root });
    for (const tab of this.#tabs) tab.addEventListener("click", () => this.#choose(tab, user.onTab));
    this.#find(".bell-tabs").addEventListener("keydown", (event) => this.#movesAmongTabs(event));
    list.addEventListener("keydown", (event) => this.#movesAmongRows(event));
    // The browser opens and closes the popover: on the button, on Escape (and gives the focus back), on a click outside.
    this.#panel.addEventListener("beforetoggle", (event) => this.#toggles(event, user.onToggle));
    this.#panel.addEventListener("focusout", (event) => this.#leaves(event.relatedTarget));
    this.#button.addEventListener("animationend", () => this.#button.classList.remove("bell-rings"));
    addEventListener("resize", () => this.#place());
  }

  /** @param {HTMLButtonElement} chosen @param {() => void} onTab */
  #choose(chosen, onTab) {
    for (const tab of this.#tabs) {
      tab.ariaSelected = String(tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
    }
    this.#tab = chosen.id === "bell-tab-unread" ? "unread" : "all";
    const items = this.#find(".bell-scroll");
    items.setAttribute("aria-labelledby", chosen.id);
    items.scrollTop = 0;
    onTab();
  }

  /** There are two, so either arrow leads to the other. @param {KeyboardEvent} event */
  #movesAmongTabs(event) {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.preventDefault();
    const other = this.#tabs.find((tab) => tab !== document.activeElement);
    other?.focus();
    other?.click();
  }

  /** @param {KeyboardEvent} event */
  #movesAmongRows(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const items = [...this.#find(".bell-list").querySelectorAll("li")];
    const here = items.findIndex((row) => row.contains(document.activeElement));
    this.#focusRow(items[here + step]);
  }

  /** @param {Element | undefined} row */
  #focusRow(row) {
    const item = row?.querySelector(".bell-item");
    if (item instanceof HTMLElement) item.focus();
  }

  get isOpen() {
    return this.#panel.matches(":popover-open");
  }

  /** @param {Event} event @param {(id: number) => void} onRead */
  #clicked(event, onRead) {
    const row = event.target instanceof Element ? event.target.closest("li") : null;
    if (row) onRead(Number(row.dataset.id));
  }

  /** @param {Event} event @param {(isOpen: boolean) => void} onToggle */
  #toggles(event, onToggle) {
    const isOpen = /** @type {ToggleEvent} */ (event).newState === "open";
    this.#button.setAttribute("aria-expanded", String(isOpen));
    clearInterval(this.#ticker);
    if (isOpen) {
      this.#toasts.replaceChildren();
      this.#ticker = setInterval(() => this.#tick(), TICK_MS);
      this.#tick();
      this.#place();
    }
    onToggle(isOpen);
  }

  /** On a narrow screen the panel would cover what has the focus now. @param {EventTarget | null} target */
  #leaves(target) {
    if (target instanceof Node && !this.#panel.contains(target) && !this.#button.contains(target)) this.#panel.hidePopover();
  }

  /** Says where the button is; the style sheet hangs the panel under it. */
  #place() {
    const anchor = this.#button.getBoundingClientRect();
    const { clientWidth, clientHeight } = document.documentElement;
    const isRightToLeft = getComputedStyle(this.#button).direction === "rtl";
    const end = isRightToLeft ? anchor.left : clientWidth - anchor.right;
    this.#panel.style.setProperty("--bell-end", `${end + scrollX}px`);
    this.#panel.style.setProperty("--bell-bottom", `${anchor.bottom + scrollY}px`);
    this.#panel.style.setProperty("--bell-room", `${clientHeight - Math.max(0, anchor.bottom)}px`);
  }

  /** @param {number} count */
  showCount(count) {
    const badge = /** @type {HTMLElement} */ (this.#button.querySelector(".bell-badge"));
    badge.hidden = count === 0;
    badge.textContent = countText(count);
    this.#button.setAttribute("aria-label", nameText(count));
    document.title = (count ? `(${countText(count)}) ` : "") + document.title.replace(/^\(\d+\+?\) /, "");
    this.#find(".bell-read-all").setAttribute("aria-disabled", String(count === 0));
  }

  /** @param {State | "blocked"} state @param {Error} [problem] */
  showState(state, problem) {
    const line = this.#find(".bell-state");
    const text = stateText(state, problem) ?? (state === "live" ? "" : this.#button.title);
    line.textContent = text;
    line.hidden = text === "";
    if (state === "signed-out") line.append(" ", loginLink(this.#button.dataset.loginUrl ?? ""));
    const isNew = text !== this.#button.title;
    this.#button.title = text;
    this.#button.classList.toggle("bell-is-away", !line.hidden);
    this.#button.dataset.state = state;
    if (isNew && (state === "signed-out" || state === "stopped")) this.#say(fill(gettext("Notifications: %(state)s"), { state: text }));
  }

  /** @param {Inbox} inbox */
  showList(inbox) {
    const notifications = inbox.latestOf(this.#tab);
    const end = this.#find(".bell-earlier");
    end.hidden = !inbox.hasEarlierIn(this.#tab);
    this.#find(".bell-loading").hidden = inbox.isLoaded;
    this.#find(".bell-empty").hidden = !inbox.isLoaded || notifications.length > 0 || !end.hidden;
    const list = this.#find(".bell-list");
    const focused = [...list.children].findIndex((row) => row.contains(document.activeElement));
    this.#removeRowsBut(new Set(notifications.map(({ id }) => id)));
    notifications.forEach((notification, place) => {
      const node = this.#row(notification);
      node.classList.toggle("bell-is-unread", !inbox.isRead(notification));
      // Rows in their place are not touched: focus and scroll position stay.
      if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null);
    });
    if (focused >= 0 && !this.#panel.contains(document.activeElement)) this.#focusNear(focused);
    this.#watchEnd(end);
  }

  /** A row that is read leaves the unread ones, and must not take the focus along. @param {number} place */
  #focusNear(place) {
    const rows = this.#find(".bell-list").children;
    if (rows.length) this.#focusRow(rows[Math.min(place, rows.length - 1)]);
    else this.#tabs.find((tab) => tab.ariaSelected === "true")?.focus();
  }

  /** It tells once of an end in sight: observed anew, it tells again if that is still so. @param {HTMLElement} end */
  #watchEnd(end) {
    this.#endInSight?.unobserve(end);
    if (!this.#hasFailed) this.#endInSight?.observe(end);
  }

  /** @param {string} text @param {"busy" | "ready" | "failed"} state */
  showEarlier(text, state) {
    const button = this.#find(".bell-earlier");
    button.textContent = text;
    button.ariaDisabled = String(state === "busy");
    this.#hasFailed = state === "failed"; // then a click tries again, not each look at it
  }

  /** @param {Set<number>} ids */
  #removeRowsBut(ids) {
    for (const [id, { node }] of this.#rows) {
      if (ids.has(id)) continue;
      node.remove();
      this.#rows.delete(id);
    }
  }

  /** @param {Item} notification */
  #row(notification) {
    const known = this.#rows.get(notification.id);
    if (known && isSameText(known.notification, notification)) return known.node;
    known?.node.remove();
    const node = this.#makeRow(notification);
    this.#rows.set(notification.id, { notification, node });
    return node;
  }

  /** @param {Item} notification */
  #makeRow(notification) {
    const row = element("li", "bell-row");
    row.dataset.id = String(notification.id);
    const body = element("span", "bell-body");
    const title = element("span", "bell-row-title", notification.title);
    const message = element("span", "bell-row-message", messageText(notification));
    title.dir = message.dir = "auto"; // people write in other directions than the admin's
    body.append(element("span", "bell-unseen bell-unread-word", gettext("Unread:")), title, message, this.#time(notification));
    const mark = element("span", "bell-mark");
    mark.append(icon(notification.related_object_type));
    const target = this.#target(notification);
    title.id = `bell-title-${notification.id}`;
    target.append(mark, body);
    row.append(target, this.#readButton(title.id));
    return row;
  }

  /** @param {string} describedBy */
  #readButton(describedBy) {
    const button = Object.assign(element("button", "bell-read"), { type: "button", title: gettext("Mark as read") });
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-describedby", describedBy);
    button.append(icon("check"));
    return button;
  }

  /** A link where the admin has a page for the related object. @param {Item} notification @param {string} [name] */
  #target({ related_object_type: type, related_object_id: id }, name = "bell-item") {
    const pattern = /^\w+$/.test(type) && this.#button.getAttribute(`data-related-${type}`);
    if (!pattern || id === null) return Object.assign(element("button", name), { type: "button" });
    return Object.assign(element("a", name), { href: pattern.replace("__id__", String(id)) });
  }

  /** @param {Item} notification */
  #time({ created_at }) {
    const time = element("time", "bell-time", agoText(new Date(created_at)));
    time.dateTime = created_at;
    time.title = `${dateText(new Date(created_at))}, ${clockText(new Date(created_at))}`;
    return time;
  }

  #tick() {
    for (const time of this.#panel.querySelectorAll("time")) time.textContent = agoText(new Date(time.dateTime));
  }

  /** @param {Item} notification */
  ring(notification) {
    this.#button.classList.add("bell-rings");
    this.#toAnnounce.push(notification);
    clearTimeout(this.#announceTimer);
    this.#announceTimer = setTimeout(() => this.#announce(), ANNOUNCE_AFTER_MS);
    if (!this.isOpen && !document.hidden) this.#toast(notification);
  }

  /** @param {Item} notification */
  #toast(notification) {
    const toast = element("div", "bell-toast");
    toast.dataset.id = String(notification.id);
    const target = this.#target(notification, "bell-toast-target");
    const title = element("span", "bell-toast-title", notification.title);
    const message = element("span", "bell-toast-message", messageText(notification));
    title.dir = message.dir = "auto";
    target.append(title, message);
    const close = Object.assign(element("button", "bell-toast-close"), { type: "button" });
    close.setAttribute("aria-label", gettext("Dismiss"));
    close.append(icon("close"));
    toast.append(target, close);
    this.#toasts.append(toast);
    while (this.#toasts.children.length > TOASTS_MOST) this.#toasts.firstElementChild?.remove();
    this.#leaveUnread(toast);
  }

  /** Goes by itself, but not from under the pointer or the focus. @param {HTMLElement} toast */
  #leaveUnread(toast) {
    setTimeout(() => {
      if (toast.matches(":hover, :focus-within")) this.#leaveUnread(toast);
      else toast.remove();
    }, TOAST_MS);
  }

  /** @param {Event} event @param {(id: number) => void} onRead */
  #clickedToast({ target }, onRead) {
    const toast = target instanceof Element ? target.closest(".bell-toast") : null;
    if (!(toast instanceof HTMLElement) || !(target instanceof Element)) return;
    if (!target.closest(".bell-toast-close")) onRead(Number(toast.dataset.id));
    toast.remove();
  }

  /** Toasts of what was read, here or elsewhere, go. @param {(id: number) => boolean} isUnread */
  dropToasts(isUnread) {
    for (const toast of this.#toasts.querySelectorAll(".bell-toast")) {
      if (toast instanceof HTMLElement && !isUnread(Number(toast.dataset.id))) toast.remove();
    }
  }

  /** Leads to the related object, or opens the panel where there is none. @param {Item | null} notification */
  open(notification) {
    const target = notification && this.#target(notification);
    if (!(target instanceof HTMLAnchorElement)) this.#panel.showPopover();
    else if (hasUnsavedText()) window.open(target.href);
    else location.assign(target.href);
  }

  #announce() {
    const [first, ...more] = this.#toAnnounce.splice(0);
    const count = more.length + 1;
    const title = first.title;
    if (count === 1) this.#say(fill(gettext("New notification: %(title)s"), { title }));
    else this.#say(fill(ngettext("%(count)s new notification", "%(count)s new notifications", count), { count }));
  }

  /** @param {string} text */
  #say(text) {
    this.#announcer.replaceChildren(element("p", "", text)); // a new node: the same words twice are said twice
  }

  /** @param {string} selector @returns {HTMLElement} */
  #find(selector) {
    return /** @type {HTMLElement} */ (this.#panel.querySelector(selector));
  }
}

/** Whether a row made for one says all of the other; whether it was read is not in it. @param {Item} a @param {Item} b */
function isSameText(a, b) {
  return JSON.stringify({ ...a, status: "" }) === JSON.stringify({ ...b, status: "" });
}

/** What was typed into a form of the admin, and would be lost by leaving the page. (The console keeps its drafts.) */
function hasUnsavedText() {
  const fields = /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("form[method=post] :is(input, textarea)"));
  return [...fields].some(({ value, defaultValue }) => value !== defaultValue);
}

// All together

const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Cookies belong to a host name: a page on localhost would dial 127.0.0.1 without its session.
 * @param {string} configured host and port
 */
function reachableHost(configured) {
  const { hostname, port } = new URL(`${location.protocol}//${configured}`);
  const isSameMachine = LOOPBACK.has(hostname) && LOOPBACK.has(location.hostname) && port === location.port;
  return isSameMachine ? location.host : configured;
}

/** @param {string} configured host and port @returns {string} */
function socketUrl(configured) {
  const page = /** @type {Window & {websocketUrl?: string}} */ (window);
  if (configured) page.websocketUrl ??= reachableHost(configured);
  // As in docs/reference/websocket-paths.md, section 3.
  const protocol = window.location.protocol === "https:" ? "wss:" : "ws:";
  const websocketHost = page.websocketUrl || window.location.host;
  return `${protocol}//${websocketHost}/ws/notifications/`;
}

/**
 * The same with a ticket for one connection: another host gets no cookie of this one. Throws as `Requests` does.
 * @param {string} url @param {Requests} requests @param {string} ticketUrl @returns {Promise<string>}
 */
async function withTicket(url, requests, ticketUrl) {
  const { ticket } = await requests.ask("POST", ticketUrl, undefined, { most: 1 });
  return `${url}?${new URLSearchParams({ ticket })}`;
}

/**
 * Does what the command says, and gives what the socket would have answered, less the count.
 * @param {Requests} requests @param {string} listUrl @param {Command} command @returns {Promise<Frame>}
 */
async function sendByRest(requests, listUrl, { type, ...fields }) {
  if (type === "notification_seen") throw new Error("only a socket takes this");
  const url = type === "mark_as_read" ? `${listUrl}${fields.notification_id}/read/` : `${listUrl}read-all/`;
  await requests.ask("POST", url, fields);
  return { type: "notification_read", ...fields };
}

/** @param {HTMLButtonElement} button @param {HTMLElement} panel @param {HTMLElement} announcer @param {HTMLElement} toasts */
function startBell(button, panel, announcer, toasts) {
  const { websocketUrl = "", notificationsUrl: listUrl = "", unreadCount, userId = "" } = button.dataset;
  const { ticketUrl = "", csrfToken = "", csrfCookie = "" } = button.dataset;
  const requests = new Requests({ userId, csrfToken, csrfCookie });
  const inbox = new Inbox(Number(unreadCount));
  const view = new BellView(button, panel, announcer, toasts);
  let isDrawing = false;

  /** Draws once for all that comes until the next frame of the screen; the list only while it is seen. */
  function show() {
    view.showCount(inbox.unreadCount); // at once: a tab in the background paints nothing, but has a title
    view.dropToasts((id) => inbox.isUnread(id));
    alerts.takeBack();
    if (isDrawing || !view.isOpen) return;
    isDrawing = true;
    requestAnimationFrame(() => {
      isDrawing = false;
      view.showList(inbox);
    });
  }

  /** @param {Item} added @param {boolean} isLive */
  function ring(added, isLive) {
    view.ring(added);
    alerts.tell(added, isLive);
    see();
  }

  let seenUpTo = 0;

  /** Says what this tab shows while somebody can see it: then no device need tell. */
  function see() {
    if (document.hidden || inbox.newestId <= seenUpTo) return;
    seenUpTo = inbox.newestId;
    socket.send({ type: "notification_seen", up_to_id: seenUpTo });
  }

  async function reload() {
    const page = await fetchPage(requests, listUrl);
    for (const added of inbox.replace(page)) ring(added, false);
    show();
    see();
    return page.last_seq;
  }

  /** @param {Frame} frame */
  function onFrame(frame) {
    const added = inbox.apply(frame);
    if (added) ring(added, inbox.isLive(frame));
    if (!view.isOpen) inbox.trim();
    if (frame.type === "connection_established") {
      sendUnconfirmed();
      seenUpTo = 0; // what was sent without a connection is lost
      see();
    }
    if (frame.type === "error") refused(frame);
    if (frame.type === "notification_read") tries = 0;
    show();
  }

  let tries = 0;

  function sendUnconfirmed() {
    inbox.unconfirmed.forEach((command) => socket.send(command));
  }

  /** A command failed: it is sent again, or else the screen shows what is not so. @param {Frame} error */
  function refused(error) {
    if (error.ref !== "mark_as_read" && error.ref !== "mark_all_as_read") return;
    const delay = retryDelay(error, ++tries);
    if (delay !== null) return void setTimeout(sendUnconfirmed, delay);
    tries = 0;
    inbox.forgetUnconfirmed();
    socket.resync();
  }

  /** @param {number} id */
  function onRead(id) {
    if (!inbox.isUnread(id)) return;
    socket.send(inbox.askToRead(id));
    show();
  }

  function onReadAll() {
    if (inbox.unreadCount === 0 || !inbox.isLoaded) return;
    socket.send(inbox.askToReadAll());
    show();
  }

  /** A page that was read before the last event may not have it (a read mark, say): ask again. @param {number} beforeId */
  async function currentPage(beforeId) {
    const page = await fetchPage(requests, listUrl, beforeId);
    return page.last_seq < (socket.lastSeq ?? 0) ? fetchPage(requests, listUrl, beforeId) : page;
  }

  let isFetching = false;

  async function onEarlier() {
    if (isFetching) return;
    isFetching = true;
    view.showEarlier(gettext("Loading…"), "busy");
    try {
      const beforeId = inbox.oldestId;
      inbox.addEarlier(await currentPage(beforeId), beforeId);
      view.showEarlier(gettext("Show earlier"), "ready");
    } catch {
      view.showEarlier(gettext("Could not load - try again"), "failed");
    }
    isFetching = false;
    show();
  }

  /** @param {boolean} isOpen */
  function onToggle(isOpen) {
    if (isOpen) view.showList(inbox);
    else inbox.trim();
  }

  /** From the desktop. @param {Item | null} notification */
  function onOpen(notification) {
    focus();
    if (notification) onRead(notification.id);
    view.open(notification);
  }

  const name = `holodrive-notifications-${userId}`;
  const alerts = new Alerts(name, panel, { isUnread: (id) => inbox.isUnread(id), onOpen });
  new PushSwitch(panel, button.dataset, requests, (id) => onOpen(inbox.latestFirst.find((one) => one.id === id) ?? null));
  document.addEventListener("visibilitychange", see);
  view.listen({ onRead, onReadAll, onEarlier, onToggle, onTab: show });
  view.showCount(inbox.unreadCount);
  const address = socketUrl(websocketUrl);
  const url = new URL(address).host === location.host ? address : () => withTicket(address, requests, ticketUrl);
  const socket = new Feed(name, {
    url,
    userId,
    reload,
    onFrame,
    onState(state, problem) {
      view.showState(state, problem);
      if (state === "blocked") sendUnconfirmed();
    },
    sendByRest: (command) => sendByRest(requests, listUrl, command),
    unreadCount: () => inbox.confirmedUnread,
  });
  socket.start();
}

const [button, panel, announcer, toasts] = ["", "-panel", "-announcer", "-toasts"].map((name) =>
  document.getElementById(`bell${name}`),
);
announceLogin(); // also of the page that says that the password was changed
// Pages that fill the block themselves (change password) have no button.
if (button instanceof HTMLButtonElement && panel && announcer && toasts) startBell(button, panel, announcer, toasts);
