// @ts-check
// What is seen of a conversation's messages: days, bubbles, ticks, who is typing; and where the reader stands in them.

import { isolated, listed } from "../../notifications/characters.js";
import { arrange, avatar, element, find, icon, iconButton, written } from "./dom.js";
import { isEditable } from "./state.js";
import { ROLE, clockText, dayOf, dayText, fill, gettext, initials, momentText, ngettext } from "./words.js";

/**
 * @typedef {import("./state.js").Entry} Entry
 * @typedef {import("./room.js").Room} Room
 */

const TOGETHER_MS = 5 * 60_000; // messages of one sender within this stand under one name
const NEAR_PX = 48;
const EARLIER_PX = 400;

const TICK = {
  sent: () => gettext("Sent"),
  delivered: () => gettext("Delivered"),
  read: () => gettext("Read"),
};

export class ThreadView {
  #log = find(".console-log");
  #newest = find(".console-newest");
  #typing = find(".console-typing");
  /** @type {Map<string, {signature: string, node: HTMLElement}>} */ #bubbles = new Map();
  /** @type {Map<string, HTMLElement>} */ #days = new Map();
  #earlier = element("button", "console-link-button console-earlier");
  #skeletons = element("div", "console-skeletons console-log-skeletons");
  /** @type {Room | null} */ #room = null;
  #isAtNewest = true;
  #shownUpTo = 0; // message id
  #behind = 0; // messages below what is seen
  #canUnmask = false;

  /** @param {boolean} canUnmask */
  constructor(canUnmask) {
    this.#canUnmask = canUnmask;
    this.#earlier.type = "button";
    this.#skeletons.setAttribute("role", "img");
    this.#skeletons.setAttribute("aria-label", gettext("Loading…"));
    for (let number = 0; number < 5; number++) this.#skeletons.append(element("div", "console-skeleton", element("b", "")));
  }

  /**
   * @param {object} user
   * @param {() => void} user.onEarlier
   * @param {() => void} user.onSeen the newest message is on the screen
   * @param {(entry: Entry) => void} user.onEdit
   * @param {(entry: Entry) => void} user.onDelete
   * @param {(entry: Entry) => void} user.onUnmask
   * @param {(entry: Entry) => void} user.onRetry
   * @param {(entry: Entry) => void} user.onDiscard
   */
  listen(user) {
    this.user = user;
    this.#log.addEventListener("scroll", () => this.#scrolled());
    this.#log.addEventListener("keydown", (event) => this.#keys(event));
    this.#log.addEventListener("click", (event) => this.#clicked(event));
    this.#earlier.addEventListener("click", user.onEarlier);
    this.#newest.addEventListener("click", () => {
      this.toNewest();
      this.#log.focus();
    });
    // What is under the log (a taller composer, a keyboard on the screen) must not push the newest out of sight.
    new ResizeObserver(() => this.#isAtNewest && this.toNewest()).observe(this.#log);
  }

  /** @param {Room | null} room */
  enter(room) {
    this.#room = room;
    this.#bubbles.clear();
    this.#days.clear();
    this.#log.replaceChildren();
    this.#isAtNewest = true;
    this.#shownUpTo = this.#behind = 0;
  }

  focus() {
    this.#log.focus();
  }

  toNewest() {
    this.#log.scrollTop = this.#log.scrollHeight;
    this.#isAtNewest = true;
    this.#behind = 0;
    this.#showNewest();
  }

  show() {
    const room = this.#room;
    if (!room) return;
    const { thread } = room;
    this.#showTyping(thread.typing);
    // Nothing of what was there before is announced: only what comes from now on.
    this.#log.setAttribute("aria-busy", String(!thread.isLoaded));
    if (!thread.isLoaded && thread.letters.length === 0) {
      arrange(this.#log, room.problem ? [] : [this.#skeletons]);
      return;
    }
    const entries = thread.entries;
    const anchor = this.#isAtNewest ? null : this.#anchor();
    this.#countBehind(entries);
    arrange(this.#log, this.#nodes(entries, room));
    if (this.#isAtNewest) this.toNewest();
    else if (anchor) this.#log.scrollTop += anchor.node.offsetTop - anchor.top;
    this.#seen();
    // A page that does not fill the screen cannot be scrolled for more.
    if (thread.hasEarlier && !room.hasEarlierProblem && this.#log.scrollHeight <= this.#log.clientHeight) this.user?.onEarlier();
  }

  /** The first bubble on the screen, and where it is: there it stays, whatever is put before it. */
  #anchor() {
    for (const { node } of this.#bubbles.values()) {
      if (node.offsetTop + node.offsetHeight > this.#log.scrollTop) return { node, top: node.offsetTop };
    }
    return null;
  }

  /** @param {Entry[]} entries */
  #countBehind(entries) {
    const isNew = (/** @type {Entry} */ { message }) => message !== undefined && message.message_id > this.#shownUpTo;
    const added = entries.filter(isNew);
    if (this.#shownUpTo && !this.#isAtNewest) this.#behind += added.filter(({ isMine }) => !isMine).length;
    this.#shownUpTo = Math.max(this.#shownUpTo, ...added.map(({ message }) => message?.message_id ?? 0));
    this.#showNewest();
  }

  #showNewest() {
    this.#newest.hidden = this.#isAtNewest;
    const words = this.#behind
      ? fill(ngettext("%(count)s new message", "%(count)s new messages", this.#behind), { count: this.#behind })
      : gettext("To the newest message");
    find("span", this.#newest).textContent = words;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#log;
    this.#isAtNewest = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    if (this.#isAtNewest) this.#behind = 0;
    this.#showNewest();
    this.#seen();
    if (scrollTop < EARLIER_PX && this.#room?.thread.hasEarlier && !this.#room.hasEarlierProblem) this.user?.onEarlier();
  }

  /** Only what is in front of somebody's eyes is read. */
  #seen() {
    if (this.#isAtNewest && this.#room?.thread.isLoaded && document.hasFocus() && this.#log.offsetParent) this.user?.onSeen();
  }

  // Bubbles

  /** @param {Entry[]} entries @param {Room} room */
  #nodes(entries, room) {
    /** @type {Node[]} */ const nodes = [];
    const kept = new Set();
    if (room.thread.hasEarlier) nodes.push(this.#showEarlier(room));
    if (entries.length === 0) nodes.push(element("p", "console-log-empty", gettext("No messages yet. Say hello.")));
    entries.forEach((entry, place) => {
      const before = entries[place - 1];
      const isNewDay = !before || dayOf(before.at) !== dayOf(entry.at);
      if (isNewDay) nodes.push(this.#day(entry.at));
      kept.add(entry.key);
      nodes.push(this.#bubble(entry, !isNewDay && isTogether(before, entry)));
    });
    for (const key of this.#bubbles.keys()) if (!kept.has(key)) this.#bubbles.delete(key);
    return nodes;
  }

  /** @param {Room} room */
  #showEarlier({ hasEarlierProblem }) {
    this.#earlier.textContent = hasEarlierProblem ? gettext("Could not load - try again") : gettext("Show earlier messages");
    return this.#earlier;
  }

  /** @param {string} at */
  #day(at) {
    const day = this.#days.get(dayOf(at)) ?? element("h3", "console-day");
    const text = dayText(at);
    if (day.textContent !== text) day.replaceChildren(element("span", "", text));
    this.#days.set(dayOf(at), day);
    return day;
  }

  /** @param {Entry} entry @param {boolean} isContinued */
  #bubble(entry, isContinued) {
    const role = this.#roleOf(entry);
    const canEdit = entry.canChange && isEditable(entry);
    const signature = JSON.stringify([entry, isContinued, role, canEdit]);
    const known = this.#bubbles.get(entry.key);
    if (known?.signature === signature) return known.node;
    const node = known?.node ?? element("article", "");
    const side = entry.isFromSupport ? "console-from-support" : "console-from-them";
    node.className = `console-entry ${side}`;
    node.classList.toggle("console-is-continued", isContinued);
    node.classList.toggle("console-is-note", entry.isNote);
    node.classList.toggle("console-is-deleted", Boolean(entry.isDeleted));
    node.classList.toggle("console-is-failed", Boolean(entry.letter?.problem));
    node.classList.toggle("console-is-sending", Boolean(entry.letter && !entry.letter.problem));
    node.dataset.key = entry.key;
    node.tabIndex = -1;
    node.setAttribute("aria-label", this.#label(entry, role));
    const bubble = element("div", "console-bubble", this.#text(entry), this.#foot(entry));
    const line = element("div", "console-bubble-line", bubble);
    const actions = this.#actions(entry, Boolean(canEdit));
    if (actions.length) line.append(element("div", "console-bubble-actions", ...actions));
    const body = element("div", "console-entry-body", line);
    if (!isContinued) body.prepend(this.#name(entry, role));
    if (entry.letter?.problem) body.append(this.#failure(entry));
    node.replaceChildren(avatar(initials(entry.authorName), entry.authorId), body);
    this.#bubbles.set(entry.key, { signature, node });
    return node;
  }

  /** @param {Entry} entry */
  #roleOf({ authorId, isFromSupport, isNote }) {
    if (isNote) return gettext("Private note");
    if (isFromSupport) return ROLE.support();
    const person = this.#room?.thread.people.find(({ user_id }) => user_id === authorId);
    return person ? (ROLE[person.role]?.() ?? person.role) : "";
  }

  /** @param {Entry} entry @param {string} role */
  #label(entry, role) {
    const who = entry.isMine ? gettext("You") : isolated(entry.authorName);
    return [role ? `${who} (${role})` : who, clockText(entry.at)].join(", ");
  }

  /** @param {Entry} entry @param {string} role */
  #name(entry, role) {
    const name = element("p", "console-entry-name", written("", entry.isMine ? gettext("You") : entry.authorName));
    if (entry.isNote) name.append(element("span", "console-role", icon("lock"), role));
    else if (role) name.append(element("span", "console-role", role));
    return name;
  }

  /** @param {Entry} entry */
  #text(entry) {
    if (entry.isDeleted) return element("p", "console-text", entry.isNote ? gettext("This note was deleted.") : gettext("This message was deleted."));
    const text = element("p", "console-text");
    text.dir = "auto";
    text.append(...linked(entry.text));
    return text;
  }

  /** @param {Entry} entry */
  #foot(entry) {
    const time = element("time", "", clockText(entry.at));
    time.dateTime = entry.at;
    time.title = momentText(entry.at);
    const foot = element("p", "console-foot");
    if (entry.isEdited) foot.append(element("span", "", gettext("edited")));
    if (entry.unmasked) foot.append(element("span", "", gettext("original shown")));
    foot.append(time);
    if (entry.letter) foot.append(this.#mark(entry.letter.problem ? "failed" : "sending", entry.letter.problem ? gettext("Not sent") : gettext("Sending…")));
    else if (entry.tick && !entry.isDeleted) foot.append(this.#mark(entry.tick, TICK[entry.tick]()));
    return foot;
  }

  /** @param {string} name @param {string} words */
  #mark(name, words) {
    const mark = element("span", `console-tick console-tick-${name}`, icon(name === "read" ? "delivered" : name), element("span", "console-unseen", words));
    mark.title = words;
    return mark;
  }

  /** @param {Entry} entry @param {boolean} canEdit */
  #actions(entry, canEdit) {
    const actions = [];
    if (canEdit) actions.push(this.#action("edit", gettext("Edit")));
    if (entry.canChange) actions.push(this.#action("delete", gettext("Delete")));
    if (entry.message?.masked && !entry.unmasked && this.#canUnmask) actions.push(this.#action("unmask", gettext("Show what is hidden"), "eye"));
    return actions;
  }

  /** Reached by the arrow keys and Tab from their message, so that a hundred of them are not in the way. @param {string} name @param {string} label @param {string} [picture] */
  #action(name, label, picture = name) {
    const button = iconButton(picture, label);
    button.dataset.action = name;
    button.tabIndex = -1;
    return button;
  }

  /** @param {Entry} entry */
  #failure(entry) {
    const retry = element("button", "console-link-button", gettext("Try again"));
    const discard = element("button", "console-link-button", gettext("Discard"));
    retry.type = discard.type = "button";
    retry.dataset.action = "retry";
    discard.dataset.action = "discard";
    return element("p", "console-failure", element("span", "", entry.letter?.problem ?? ""), retry, discard);
  }

  // Acting

  /** @param {HTMLElement | null} node @returns {Entry | undefined} */
  #entryOf(node) {
    const key = node?.closest("article")?.dataset.key;
    return this.#room?.thread.entries.find((entry) => entry.key === key);
  }

  /** @param {Event} event */
  #clicked(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const action = /** @type {HTMLElement | null} */ (target.closest("[data-action]"))?.dataset.action;
    const entry = this.#entryOf(target);
    if (action && entry) this.#act(action, entry);
  }

  /** @param {string} action @param {Entry} entry */
  #act(action, entry) {
    if (action === "edit") this.user?.onEdit(entry);
    if (action === "delete") this.user?.onDelete(entry);
    if (action === "unmask") this.user?.onUnmask(entry);
    if (action === "retry") this.user?.onRetry(entry);
    if (action === "discard") this.user?.onDiscard(entry);
  }

  /** @param {KeyboardEvent} event */
  #keys(event) {
    const focused = document.activeElement?.closest("article") ?? null;
    if (event.key === "ArrowUp" || event.key === "ArrowDown") this.#step(event, focused);
    else if (focused && document.activeElement === focused) this.#keyOn(event, focused);
  }

  /** @param {KeyboardEvent} event @param {HTMLElement | null} focused */
  #step(event, focused) {
    const all = /** @type {HTMLElement[]} */ ([...this.#log.querySelectorAll("article")]);
    const place = focused ? all.indexOf(focused) : all.length;
    const next = all[place + (event.key === "ArrowUp" ? -1 : 1)];
    if (!next) return;
    event.preventDefault();
    for (const button of this.#log.querySelectorAll("[data-action]")) /** @type {HTMLElement} */ (button).tabIndex = next.contains(button) ? 0 : -1;
    next.focus();
  }

  /** @param {KeyboardEvent} event @param {HTMLElement} focused */
  #keyOn(event, focused) {
    const entry = this.#entryOf(focused);
    if (!entry) return;
    if (event.key === "Enter" && entry.canChange && isEditable(entry)) this.user?.onEdit(entry);
    else if (event.key === "Delete" && entry.canChange) this.user?.onDelete(entry);
    else return;
    event.preventDefault();
  }

  /** @param {string[]} names */
  #showTyping(names) {
    const text = names.length ? fill(ngettext("%(names)s is typing", "%(names)s are typing", names.length), { names: listed(names) }) : "";
    if (this.#typing.dataset.text === text) return;
    this.#typing.dataset.text = text;
    this.#typing.replaceChildren(...(text ? [element("i", "console-dots", element("i", ""), element("i", ""), element("i", "")), text] : []));
  }
}

/** @param {Entry | undefined} before @param {Entry} entry */
function isTogether(before, entry) {
  if (!before || before.authorId !== entry.authorId || before.isNote !== entry.isNote) return false;
  return new Date(entry.at).getTime() - new Date(before.at).getTime() < TOGETHER_MS;
}

/** Addresses become links; all else stays text. @param {string} text @returns {(Node | string)[]} */
function linked(text) {
  return text.split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/).map((part, place) => {
    if (place % 2 === 0) return part;
    const link = element("a", "", part);
    link.href = part;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    return link;
  });
}
