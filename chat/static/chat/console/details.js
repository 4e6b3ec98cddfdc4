// @ts-check
// What is seen of a conversation beside its messages: header, state of the connection, controls, people.

import { isBlank, isolated, listed } from "../../notifications/characters.js";
import { avatar, element, find, written } from "./dom.js";
import { avatarOf, titleOf } from "./list.js";
import { counterparts } from "./state.js";
import { PRIORITY, ROLE, STATUS, agoText, fill, gettext, initials, momentText } from "./words.js";

/**
 * @typedef {import("./room.js").Room} Room
 * @typedef {import("./state.js").Conversation} Conversation
 * @typedef {import("./state.js").Person} Person
 */

const SNOOZE_MS = 4 * 3_600_000;
const STATUSES = /** @type {const} */ (["open", "pending", "snoozed", "resolved", "closed"]);
const PRIORITIES = /** @type {const} */ (["urgent", "high", "normal", "low"]);

export class DetailsView {
  #me;
  #may;
  #changeUrl;
  #status = /** @type {HTMLSelectElement} */ (find(".console-status"));
  #assignee = /** @type {HTMLSelectElement} */ (find(".console-assignee"));
  #priority = /** @type {HTMLSelectElement} */ (find(".console-priority"));
  #until = /** @type {HTMLInputElement} */ (find(".console-snoozed-until"));
  #actions = find(".console-actions");
  #claim = element("button", "console-button", gettext("Claim"));
  #resolve = element("button", "console-button console-quiet");
  /** @type {Person[]} */ #agents = [];

  /** @param {Person} me @param {(permission: string) => boolean} may @param {string} changeUrl */
  constructor(me, may, changeUrl) {
    this.#me = me;
    this.#may = may;
    this.#changeUrl = changeUrl;
    this.#claim.type = this.#resolve.type = "button";
    this.#claim.classList.add("console-claim");
    this.#resolve.classList.add("console-resolve");
    this.#status.append(...STATUSES.map((status) => new Option(STATUS[status](), status)));
    this.#priority.append(...PRIORITIES.map((priority) => new Option(PRIORITY[priority](), priority)));
  }

  /**
   * @param {object} user
   * @param {(change: object) => void} user.onChange
   * @param {() => void} user.onClaim
   * @param {() => void} user.onResolve
   */
  listen(user) {
    this.#claim.addEventListener("click", user.onClaim);
    this.#resolve.addEventListener("click", user.onResolve);
    this.#priority.addEventListener("change", () => user.onChange({ priority: this.#priority.value }));
    this.#assignee.addEventListener("change", () => user.onChange({ assignee: this.#assignee.value || null }));
    this.#status.addEventListener("change", () => {
      const status = this.#status.value;
      const until = new Date(Date.now() + SNOOZE_MS).toISOString();
      user.onChange(status === "snoozed" ? { status, snoozed_until: until } : { status });
    });
    this.#until.addEventListener("change", () => {
      if (this.#until.value) user.onChange({ status: "snoozed", snoozed_until: new Date(this.#until.value).toISOString() });
    });
  }

  /** @param {Person[]} agents */
  showAgents(agents) {
    this.#agents = agents;
  }

  /** @param {Room} room */
  show(room) {
    const { conversation } = room;
    if (!conversation) return this.#showUnknown(room);
    const title = find("#console-thread-title");
    if (title.textContent !== titleOf(conversation)) {
      title.textContent = titleOf(conversation);
      find(".console-thread-avatar").replaceChildren(avatarOf(conversation));
    }
    this.#showAbout(room, conversation);
    this.#showActions(conversation);
    this.#showControls(conversation);
    this.#showPeople(room, conversation);
    this.#showFacts(conversation);
    /** @type {HTMLAnchorElement} */ (find(".console-admin-link")).href = this.#changeUrl.replace("/0/", `/${conversation.id}/`);
  }

  /** @param {Room} room */
  #showUnknown(room) {
    find("#console-thread-title").textContent = fill(gettext("Conversation %(id)s"), { id: room.id });
    find(".console-thread-avatar").replaceChildren();
    for (const part of [".console-thread-about", ".console-actions", ".console-people", ".console-facts"]) find(part).replaceChildren();
  }

  /** @param {Room} room @param {Conversation} conversation */
  #showAbout({ thread, state }, conversation) {
    const people = counterparts(conversation);
    const online = people.filter(({ user_id }) => thread.online.has(user_id));
    const seen = people.map(({ user_id }) => thread.lastSeen.get(user_id)).find(Boolean);
    const parts = [];
    if (conversation.kind === "trip") parts.push(gettext("Trip"));
    else parts.push(...people.map(({ role }) => ROLE[role]?.() ?? role));
    if (!isBlank(conversation.subject)) parts.push(isolated(conversation.subject));
    const about = find(".console-thread-about");
    about.replaceChildren(written("", parts.join(" · ")));
    if (state !== "live") return;
    const isOnline = online.length > 0;
    const presence = isOnline ? (people.length > 1 ? fill(gettext("%(names)s online"), { names: listed(online.map(({ name }) => name)) }) : gettext("online")) : seen ? fill(gettext("last seen %(time)s"), { time: agoText(seen) }) : gettext("offline");
    about.append(element("span", `console-presence${isOnline ? " console-is-online" : ""}`, presence));
  }

  /** @param {Conversation} conversation */
  #showActions({ assignee, status, kind }) {
    const isActive = status !== "resolved" && status !== "closed";
    const canClaim = assignee === null && kind === "support" && isActive && this.#may("chat.assign_conversation");
    const isResolved = !isActive;
    this.#resolve.textContent = isResolved ? gettext("Open again") : gettext("Resolve");
    this.#claim.hidden = !canClaim;
    this.#resolve.hidden = assignee === undefined || !this.#may("chat.change_conversation");
    if (!this.#actions.contains(this.#claim)) this.#actions.append(this.#claim, this.#resolve);
  }

  /** @param {Conversation} conversation */
  #showControls(conversation) {
    const canChange = this.#may("chat.change_conversation");
    const { assignee, snoozed_until: until } = conversation;
    find(".console-controls").hidden = assignee === undefined;
    this.#status.value = conversation.status;
    this.#status.disabled = this.#priority.disabled = this.#until.disabled = !canChange;
    this.#priority.value = conversation.priority ?? "normal";
    this.#assignee.disabled = !this.#may("chat.assign_conversation");
    this.#showAssignees(assignee ?? null);
    find(".console-until").hidden = conversation.status !== "snoozed";
    if (document.activeElement !== this.#until) this.#until.value = until ? localMinutes(until) : "";
  }

  /** @param {Person | null} assignee */
  #showAssignees(assignee) {
    if (document.activeElement !== this.#assignee || this.#assignee.options.length === 0) {
      const others = this.#agents.filter(({ user_id }) => user_id !== this.#me.user_id);
      const known = [this.#me, ...others];
      if (assignee && !known.some(({ user_id }) => user_id === assignee.user_id)) known.push(assignee);
      const name = (/** @type {Person} */ one) => (one.user_id === this.#me.user_id ? fill(gettext("%(name)s (you)"), { name: one.name }) : isolated(one.name));
      const signature = JSON.stringify(known);
      if (this.#assignee.dataset.signature !== signature) {
        this.#assignee.dataset.signature = signature;
        this.#assignee.replaceChildren(new Option(gettext("Nobody"), ""), ...known.map((one) => new Option(name(one), String(one.user_id))));
      }
    }
    this.#assignee.value = assignee ? String(assignee.user_id) : "";
  }

  /** @param {Room} room @param {Conversation} conversation */
  #showPeople({ thread }, conversation) {
    const rows = conversation.participants.map(({ user_id, name, role }) => {
      const picture = avatar(initials(name), user_id);
      const isOnline = thread.online.has(user_id);
      picture.classList.toggle("console-is-online", isOnline);
      const words = [ROLE[role]?.() ?? role, ...(isOnline ? [gettext("online")] : [])].join(" · ");
      return element("li", "", picture, element("span", "", written("console-person-name", name), element("span", "console-person-role", words)));
    });
    find(".console-people").replaceChildren(...rows);
  }

  /** @param {Conversation} conversation */
  #showFacts({ id, subject, created_at, waiting_since, closes_at }) {
    /** @type {[string, string][]} */ const facts = [[gettext("Number"), String(id)]];
    if (!isBlank(subject)) facts.push([gettext("Subject"), subject]);
    facts.push([gettext("Begun"), momentText(created_at)]);
    if (waiting_since) facts.push([gettext("Waiting since"), momentText(waiting_since)]);
    if (closes_at) facts.push([gettext("Closes"), momentText(closes_at)]);
    find(".console-facts").replaceChildren(...facts.map(([name, value]) => element("div", "", element("dt", "", name), element("dd", "", written("", value)))));
  }
}

/** As a field of local time wants it: 2026-11-24T09:00. @param {string} timestamp */
function localMinutes(timestamp) {
  const then = new Date(timestamp);
  return new Date(then.getTime() - then.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
