// @ts-check
// What is seen of the list of conversations: filters, search, rows.

import { isBlank, listed } from "../../notifications/characters.js";
import { arrange, avatar, element, find, icon, written } from "./dom.js";
import { counterparts, unreadOf } from "./state.js";
import { PRIORITY, STATUS, fill, gettext, initials, minutesSince, momentText, ngettext, shortTimeText, waitingText } from "./words.js";

/**
 * @typedef {import("./state.js").Conversation} Conversation
 * @typedef {import("./state.js").Conversations} Conversations
 * @typedef {import("./state.js").Filter} Filter
 */

const SEARCH_AFTER_MS = 250;
const SHORTEST_SEARCH = 2;
const TICK_MS = 30_000;
const LATE_MINUTES = 15; // from then on, who waits stands out

/** Who it is with, for people. @param {Conversation} conversation */
export function titleOf(conversation) {
  const names = counterparts(conversation).map(({ name }) => name);
  if (names.length) return names.length > 1 ? listed(names) : names[0];
  return isBlank(conversation.subject) ? fill(gettext("Conversation %(id)s"), { id: conversation.id }) : conversation.subject;
}

/** @param {Conversation} conversation */
export function avatarOf(conversation) {
  const [first] = counterparts(conversation);
  return avatar(initials(titleOf(conversation)), first?.user_id ?? conversation.id);
}

export class ListView {
  #me;
  #root = find("#console .console-list");
  #list = find(".console-conversations", this.#root);
  #scroll = find(".console-list-scroll", this.#root);
  #nothing = find(".console-list-nothing", this.#root);
  #more = find(".console-list-more", this.#root);
  #closed = find(".console-list-closed", this.#root);
  #search = /** @type {HTMLInputElement} */ (find("#console-search"));
  /** @type {Map<number, {signature: string, node: HTMLElement}>} */ #rows = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #searchTimer;

  /** @param {number} me */
  constructor(me) {
    this.#me = me;
  }

  /**
   * @param {object} user
   * @param {(id: number) => void} user.onOpen
   * @param {(filter: Filter, search: string) => void} user.onShow
   * @param {() => void} user.onMore
   * @param {() => void} user.onRetry
   */
  listen(user) {
    this.#list.addEventListener("click", (event) => this.#clicked(event, user.onOpen));
    this.#list.addEventListener("keydown", (event) => this.#arrows(event));
    for (const button of this.#filters) button.addEventListener("click", () => this.#choose(button, user.onShow));
    this.#search.addEventListener("input", () => {
      clearTimeout(this.#searchTimer);
      this.#searchTimer = setTimeout(() => user.onShow(this.filter, this.searched), SEARCH_AFTER_MS);
    });
    this.#search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "Enter") this.focusFirst(event);
    });
    this.#more.addEventListener("click", user.onMore);
    find(".console-list-retry", this.#root).addEventListener("click", user.onRetry);
    this.#closed.addEventListener("click", () => {
      this.press("closed");
      this.focusSearch(); // the button goes
      user.onShow(this.filter, this.searched);
    });
    this.#scroll.addEventListener("scroll", () => {
      const left = this.#scroll.scrollHeight - this.#scroll.scrollTop - this.#scroll.clientHeight;
      if (left < 300 && !this.#more.hidden) user.onMore();
    });
    setInterval(() => this.#tick(), TICK_MS);
  }

  get #filters() {
    return [.../** @type {NodeListOf<HTMLButtonElement>} */ (this.#root.querySelectorAll("[data-filter]"))];
  }

  get filter() {
    const pressed = this.#filters.find((button) => button.getAttribute("aria-pressed") === "true");
    return /** @type {Filter} */ (pressed?.dataset.filter);
  }

  /** What is searched for; what is too short to search is no search. */
  get searched() {
    const text = this.#search.value.trim();
    return Array.from(text).length >= SHORTEST_SEARCH ? text : "";
  }

  /** @param {HTMLButtonElement} button @param {(filter: Filter, search: string) => void} onShow */
  #choose(button, onShow) {
    this.press(/** @type {Filter} */ (button.dataset.filter));
    onShow(this.filter, this.searched);
  }

  /** @param {Filter} filter */
  press(filter) {
    for (const one of this.#filters) one.setAttribute("aria-pressed", String(one.dataset.filter === filter));
  }

  focusSearch() {
    this.#search.focus();
    this.#search.select();
  }

  /** @param {Event} event */
  focusFirst(event) {
    const first = this.#list.querySelector("a");
    if (!first) return;
    event.preventDefault();
    first.focus();
  }

  /** @param {number} id */
  focusRow(id) {
    this.#rows.get(id)?.node.querySelector("a")?.focus();
  }

  /** A link, so that a click with a key held down opens another tab. @param {MouseEvent} event @param {(id: number) => void} onOpen */
  #clicked(event, onOpen) {
    const row = event.target instanceof Element ? event.target.closest("li") : null;
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    onOpen(Number(row.dataset.id));
  }

  /** @param {KeyboardEvent} event */
  #arrows(event) {
    const row = event.target instanceof Element ? event.target.closest("li") : null;
    const next = event.key === "ArrowDown" ? row?.nextElementSibling : event.key === "ArrowUp" ? row?.previousElementSibling : null;
    if (!next) return;
    event.preventDefault();
    next.querySelector("a")?.focus();
  }

  /** @param {Conversations} conversations @param {number | null} openId */
  show(conversations, openId) {
    const items = conversations.sorted;
    const { isLoaded, problem } = conversations;
    find(".console-skeletons", this.#root).hidden = isLoaded || problem !== null;
    this.#more.hidden = conversations.next === null;
    this.#nothing.hidden = problem === null && !(isLoaded && items.length === 0);
    find(".console-list-retry", this.#root).hidden = problem === null;
    this.#closed.hidden = problem !== null || !conversations.search || conversations.filter === "closed";
    if (problem !== null) this.#say(gettext("The list could not be loaded"), problem);
    else this.#sayNothing(conversations);
    const ids = new Set(items.map(({ id }) => id));
    for (const id of this.#rows.keys()) if (!ids.has(id)) this.#rows.delete(id);
    const saysUnassigned = conversations.filter === "all";
    arrange(this.#list, items.map((item) => this.#row(item, item.id === openId, saysUnassigned)));
  }

  /** @param {Conversations} conversations */
  #sayNothing({ search, filter }) {
    if (search) this.#say(gettext("Nothing found"), gettext("Try another name or word, or another filter."));
    else if (filter === "closed") this.#say(gettext("Nothing is closed yet"), "");
    else this.#say(gettext("You’re all caught up"), gettext("New conversations appear here by themselves."));
  }

  /** @param {string} title @param {string} text */
  #say(title, text) {
    find(".console-nothing-title", this.#nothing).textContent = title;
    find(".console-nothing-text", this.#nothing).textContent = text;
  }

  /** @param {Conversation} item @param {boolean} isOpen @param {boolean} saysUnassigned */
  #row(item, isOpen, saysUnassigned) {
    const signature = JSON.stringify([item, isOpen, saysUnassigned]);
    const known = this.#rows.get(item.id);
    if (known?.signature === signature) return known.node;
    const node = known?.node ?? element("li", "");
    node.dataset.id = String(item.id);
    const link = node.querySelector("a") ?? node.appendChild(element("a", "console-conversation"));
    link.href = `?conversation=${item.id}`;
    if (isOpen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    link.classList.toggle("console-is-unread", unreadOf(item, this.#me) > 0);
    link.replaceChildren(avatarOf(item), this.#body(item, saysUnassigned)); // the link itself stays, and the focus with it
    this.#rows.set(item.id, { signature, node });
    return node;
  }

  /** @param {Conversation} item @param {boolean} saysUnassigned */
  #body(item, saysUnassigned) {
    const top = element("span", "console-row-line", written("console-row-name", titleOf(item)));
    if (item.last_message_at) top.append(this.#time(item.last_message_at));
    const middle = element("span", "console-row-line", this.#preview(item));
    const unread = unreadOf(item, this.#me);
    if (unread) middle.append(this.#badge(unread));
    const body = element("span", "console-row-body", top, middle);
    const chips = this.#chips(item, saysUnassigned);
    if (chips.length) body.append(element("span", "console-row-line console-chips", ...chips));
    return body;
  }

  /** @param {string} at */
  #time(at) {
    const time = element("time", "console-row-time", shortTimeText(at));
    time.dateTime = at;
    time.title = momentText(at);
    return time;
  }

  /** @param {number} unread */
  #badge(unread) {
    const words = fill(ngettext("%(count)s unread message", "%(count)s unread messages", unread), { count: unread });
    const seen = element("span", "", unread > 99 ? "99+" : String(unread));
    seen.setAttribute("aria-hidden", "true");
    return element("span", "console-badge", seen, element("span", "console-unseen", words));
  }

  /** @param {Conversation} item */
  #preview({ last_message: last, subject }) {
    if (!last) return written("console-row-preview", isBlank(subject) ? gettext("No messages yet") : subject);
    if (last.deleted_at) return element("em", "console-row-preview", gettext("Message deleted"));
    const isMine = last.sender_id === this.#me;
    if (!isMine) return written("console-row-preview", last.message);
    const you = element("span", "console-row-you", `${gettext("You:")} `);
    return element("span", "console-row-preview", you, written("", last.message));
  }

  /** @param {Conversation} item @param {boolean} saysUnassigned where others stand beside it */
  #chips(item, saysUnassigned) {
    const chips = [];
    if (item.kind === "trip") chips.push(element("span", "console-chip", icon("trip"), gettext("Trip")));
    if (item.status !== "open") chips.push(element("span", `console-chip console-chip-${item.status}`, STATUS[item.status]()));
    if (item.priority === "urgent" || item.priority === "high")
      chips.push(element("span", `console-chip console-chip-${item.priority}`, icon("priority"), PRIORITY[item.priority]()));
    if (item.assignee && item.assignee.user_id !== this.#me) chips.push(written("console-chip", item.assignee.name));
    if (saysUnassigned && item.assignee === null && item.kind === "support") chips.push(element("span", "console-chip", gettext("Unassigned")));
    if (item.waiting_since) chips.push(this.#waiting(item.waiting_since));
    return chips;
  }

  /** @param {string} since */
  #waiting(since) {
    const chip = element("span", "console-chip console-waiting");
    chip.dataset.since = since;
    chip.title = momentText(since);
    showWaiting(chip);
    return chip;
  }

  #tick() {
    for (const chip of /** @type {NodeListOf<HTMLElement>} */ (this.#list.querySelectorAll(".console-waiting"))) showWaiting(chip);
    for (const time of this.#list.querySelectorAll("time")) time.textContent = shortTimeText(time.dateTime);
  }
}

/** @param {HTMLElement} chip */
function showWaiting(chip) {
  const { since = "" } = chip.dataset;
  chip.textContent = waitingText(since);
  chip.classList.toggle("console-is-late", minutesSince(since) >= LATE_MINUTES);
}
