// @ts-check
// Where the agent writes: a reply, a private note or an edit; canned replies by /code. Knows nothing of sending.

import { isBlank } from "../../notifications/characters.js";
import { element, find, written } from "./dom.js";
import { fold } from "./folding.js";
import { fill, gettext } from "./words.js";

/**
 * @typedef {{code: string, text: string, expanded: string | null}} CannedReply
 * @typedef {"reply" | "note"} Mode
 * @typedef {{text: string, isNote: boolean}} Draft
 * @typedef {{id: number, isNote: boolean, before: Draft}} Editing
 */

const COUNT_FROM = 200; // characters left

export class Composer {
  #form = find(".console-composer");
  #text = /** @type {HTMLTextAreaElement} */ (find("#console-text"));
  #menu = find("#console-canned");
  #cannedButton = /** @type {HTMLButtonElement} */ (find(".console-canned-button"));
  #longest;
  /** @type {CannedReply[]} */ #canned = [];
  /** @type {CannedReply[]} */ #offered = [];
  #chosen = 0;
  /** @type {Editing | null} */ #editing = null;
  /** @type {Mode} */ mode = "reply";

  /** @param {number} longest code points */
  constructor(longest) {
    this.#longest = longest;
  }

  /**
   * @param {object} user
   * @param {(text: string, isNote: boolean) => void} user.onSend
   * @param {(id: number, text: string, isNote: boolean) => Promise<boolean>} user.onEdited whether it is saved
   * @param {(draft: Draft) => void} user.onDraft
   * @param {(isTyping: boolean) => void} user.onTyping
   * @param {() => void} user.onEditLast
   * @param {() => void} user.onLeave
   */
  listen(user) {
    this.user = user;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#text.addEventListener("input", () => this.#changed(true));
    this.#text.addEventListener("keydown", (event) => this.#keys(event));
    this.#text.addEventListener("blur", () => {
      user.onTyping(false);
      this.#offer([]);
    });
    // The text keeps the focus, as in any menu of a field.
    this.#menu.addEventListener("mousedown", (event) => event.preventDefault());
    this.#menu.addEventListener("click", (event) => {
      const option = event.target instanceof Element ? event.target.closest("li") : null;
      if (option) this.#take(this.#offered[Number(option.dataset.place)]);
    });
    for (const button of this.#modes) button.addEventListener("click", () => this.setMode(/** @type {Mode} */ (button.dataset.mode)));
    this.#cannedButton.addEventListener("mousedown", (event) => event.preventDefault());
    this.#cannedButton.addEventListener("click", () => this.#browse());
    find(".console-edit-cancel", this.#form).addEventListener("click", () => this.stopEditing());
  }

  get #modes() {
    return [.../** @type {NodeListOf<HTMLButtonElement>} */ (this.#form.querySelectorAll("[data-mode]"))];
  }

  /** @param {Mode[]} modes that are allowed */
  allow(modes) {
    this.#form.hidden = modes.length === 0;
    find(".console-modes", this.#form).hidden = modes.length < 2;
    if (modes.length && !modes.includes(this.mode)) this.#setMode(/** @type {Mode} */ (modes[0]));
  }

  /** @param {CannedReply[]} canned */
  offerReplies(canned) {
    this.#canned = canned;
    this.#showCannedButton();
    if (document.activeElement === this.#text) this.#changed(false);
  }

  /** @param {Draft | null} draft */
  enter(draft) {
    this.#editing = null;
    this.#canned = [];
    this.#fill(draft ?? { text: "", isNote: false });
  }

  /** @param {Draft} draft */
  #fill({ text, isNote }) {
    this.#text.value = text;
    this.#setMode(isNote ? "note" : "reply");
    find(".console-editing", this.#form).hidden = this.#editing === null;
    this.#changed(false);
  }

  focus() {
    this.#text.focus();
  }

  get isHidden() {
    return this.#form.hidden;
  }

  /** @param {Mode} mode */
  setMode(mode) {
    if (this.#editing) this.stopEditing();
    this.#setMode(mode);
    this.user?.onDraft(this.#draft);
    this.focus();
  }

  /** @param {Mode} mode */
  #setMode(mode) {
    this.mode = mode;
    for (const button of this.#modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    this.#form.classList.toggle("console-is-note", mode === "note");
    const words = mode === "note" ? gettext("Private note: riders and drivers never see it") : gettext("Message");
    this.#text.setAttribute("aria-label", words);
    this.#text.placeholder = mode === "note" ? words : gettext("Write a message…");
    const send = this.#editing ? gettext("Save") : mode === "note" ? gettext("Add note") : gettext("Send");
    find(".console-send span", this.#form).textContent = send;
  }

  /** @returns {Draft} */
  get #draft() {
    return { text: this.#text.value, isNote: this.mode === "note" };
  }

  // Editing

  /** @param {number} id of a message or note @param {string} text @param {boolean} isNote */
  edit(id, text, isNote) {
    this.#editing = { id, isNote, before: this.#editing?.before ?? this.#draft };
    this.#fill({ text, isNote });
    this.focus();
    this.#text.setSelectionRange(text.length, text.length);
  }

  stopEditing() {
    if (!this.#editing) return;
    this.#endEditing(this.#editing);
    this.focus();
  }

  /** @param {Editing} editing */
  #endEditing({ before }) {
    this.#editing = null;
    this.#fill(before);
  }

  /** The text stays in the field until the server has it. @param {Editing} editing @param {string} text */
  async #save(editing, text) {
    const isSaved = await this.user?.onEdited(editing.id, text, editing.isNote);
    if (isSaved && this.#editing === editing && this.#text.value === text) this.#endEditing(editing);
  }

  #submit() {
    const text = this.#text.value;
    if (isBlank(text) || this.#left < 0) return;
    this.user?.onTyping(false);
    if (this.#editing) return void this.#save(this.#editing, text);
    const isNote = this.mode === "note";
    this.#text.value = "";
    this.#changed(false);
    this.user?.onDraft(this.#draft);
    this.user?.onSend(text, isNote);
    this.focus();
  }

  // The field

  get #left() {
    return this.#longest - Array.from(this.#text.value).length;
  }

  /** @param {boolean} byHand */
  #changed(byHand) {
    const { value } = this.#text;
    this.#text.style.height = "auto";
    this.#text.style.height = `${this.#text.scrollHeight + 2}px`; // the style sheet has the most
    find(".console-send", this.#form).setAttribute("aria-disabled", String(isBlank(value) || this.#left < 0));
    this.#showCount();
    this.#showCannedButton();
    this.#offer(this.#matching(value));
    if (!byHand) return;
    if (!this.#editing) this.user?.onDraft(this.#draft);
    this.user?.onTyping(!isBlank(value) && this.mode === "reply" && !this.#editing);
  }

  #showCount() {
    const count = find(".console-count", this.#form);
    count.textContent = this.#left > COUNT_FROM ? "" : fill(gettext("%(count)s characters left"), { count: this.#left });
    count.classList.toggle("console-is-over", this.#left < 0);
  }

  /** @param {KeyboardEvent} event */
  #keys(event) {
    if (event.isComposing) return; // Enter takes what an input method offers
    if (this.#offered.length && this.#menuKeys(event)) return event.preventDefault();
    if (event.key === "Enter" && !event.shiftKey && !event.altKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && !this.#text.value && !this.#editing) {
      event.preventDefault();
      this.user?.onEditLast();
    } else if (event.key === "Escape") {
      event.stopPropagation();
      if (this.#editing) this.stopEditing();
      else this.user?.onLeave();
    }
  }

  // Canned replies

  /** A reply takes the place of the whole text, so there is none to be had beside one. */
  #showCannedButton() {
    const { value } = this.#text;
    this.#cannedButton.hidden = this.#canned.length === 0 || this.#editing !== null || (value !== "" && !value.startsWith("/"));
  }

  /** As if the slash had been typed. */
  #browse() {
    this.#text.value = "/";
    this.focus();
    this.#changed(true);
  }

  /** A text that is a slash and the beginning of codes. @param {string} value */
  #matching(value) {
    const typed = /^\/(\S*)$/.exec(value)?.[1];
    if (typed === undefined || this.#editing) return [];
    return this.#canned.filter(({ code }) => fold(code).startsWith(fold(typed))).slice(0, 8);
  }

  /** @param {CannedReply[]} replies */
  #offer(replies) {
    this.#offered = replies;
    this.#chosen = 0;
    this.#menu.hidden = replies.length === 0;
    this.#menu.replaceChildren(...replies.map((reply, place) => this.#option(reply, place)));
    this.#showChosen();
  }

  /** @param {CannedReply} reply @param {number} place */
  #option(reply, place) {
    const option = element("li", "", element("strong", "", `/${reply.code}`), written("", reply.expanded ?? reply.text));
    option.id = `console-canned-${place}`;
    option.setAttribute("role", "option");
    option.dataset.place = String(place);
    return option;
  }

  #showChosen() {
    [...this.#menu.children].forEach((option, place) => option.setAttribute("aria-selected", String(place === this.#chosen)));
    const chosen = this.#menu.children[this.#chosen];
    chosen?.scrollIntoView({ block: "nearest" });
    if (chosen) this.#text.setAttribute("aria-activedescendant", chosen.id);
    else this.#text.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the menu took it */
  #menuKeys({ key, shiftKey }) {
    const step = key === "ArrowDown" ? 1 : key === "ArrowUp" ? -1 : 0;
    if (step) this.#chosen = (this.#chosen + step + this.#offered.length) % this.#offered.length;
    if (step) this.#showChosen();
    else if ((key === "Enter" && !shiftKey) || key === "Tab") this.#take(this.#offered[this.#chosen]);
    else if (key === "Escape") this.#offer([]);
    else return false;
    return true;
  }

  /** @param {CannedReply | undefined} reply */
  #take(reply) {
    if (!reply) return;
    this.#text.value = reply.expanded ?? reply.text;
    this.#changed(true);
    this.focus();
  }
}
