// @ts-check
// One conversation while it is open, and after that until what was sent from it has arrived: its Thread, kept up to date.

import { AnotherUser, RealtimeError, connect, retryDelay } from "../../realtime/holodrive-realtime.js";
import { problemText } from "../../notifications/problems.js";
import { Refused } from "../../notifications/requests.js";
import { Fallback } from "./fallback.js";
import { Thread } from "./state.js";
import { outbox } from "./storage.js";
import { gettext } from "./words.js";

/**
 * @typedef {import("../../realtime/holodrive-realtime.js").Frame} Frame
 * @typedef {import("../../realtime/holodrive-realtime.js").State} State
 * @typedef {import("../../realtime/holodrive-realtime.js").RealtimeSocket} RealtimeSocket
 * @typedef {import("./state.js").Conversation} Conversation
 * @typedef {import("./state.js").Person} Person
 */

const TYPING_AGAIN_MS = 3_000; // half of the server's time-out

export class Room {
  #api;
  #me;
  #onChange;
  #outbox;
  /** @type {RealtimeSocket | null} */ #socket = null;
  /** @type {RealtimeSocket | null} */ #noteSocket = null;
  #readUpTo = 0;
  #readTries = 0;
  #toldTypingAt = -Infinity;
  #isFetching = false;
  #sending = 0;
  #isLeft = false;
  #fallback = new Fallback(() => this.#poll(), () => this.#blocked());
  /** By REST, one after another, as on the socket. @type {Promise<unknown>} */ #posted = Promise.resolve();
  #posting = 0;
  /** @type {State} */ #state = "connecting";
  /** @type {Error | null} */ problem = null;
  /** @type {Conversation | null} */ conversation = null;
  hasEarlierProblem = false;

  /**
   * @param {number} id
   * @param {import("./api.js").Api} api
   * @param {Person} me
   * @param {(room: Room) => void} onChange
   */
  constructor(id, api, me, onChange) {
    this.id = id;
    this.#api = api;
    this.#me = me;
    this.#onChange = onChange;
    this.#outbox = outbox(me.user_id, id);
    this.thread = new Thread(me);
    // Of an earlier life of this tab: whether they arrived is not known, so a person decides; twice they cannot.
    for (const letter of this.#outbox.get()) this.thread.addLetter({ ...letter, problem: gettext("Not sent yet") });
  }

  /** @returns {State | "blocked"} */
  get state() {
    if (this.#fallback.isBlocked) return "blocked";
    return this.#fallback.isSignedOut ? "signed-out" : this.#state;
  }

  get #path() {
    return `conversations/${this.id}/`;
  }

  /** @param {boolean} withNotes */
  enter(withNotes) {
    this.#isLeft = false;
    if (this.#socket) return;
    this.#socket = connect({
      url: this.#api.socket(`/ws/chat/${this.id}/`),
      userId: this.#me.user_id,
      reload: () => this.#reload(),
      onFrame: (frame) => this.#frame(frame),
      onState: (state, problem) => this.#connection(state, problem),
    });
    this.#fallback.follow(this.#socket.state);
    if (!withNotes) return;
    this.#noteSocket = connect({
      url: this.#api.socket(`/ws/support/notes/${this.id}/`),
      userId: this.#me.user_id,
      reload: () => this.#reloadNotes(),
      onFrame: (frame) => frame.type.startsWith("note") && this.#frame(frame), // its first frame says nothing of who is online
    });
  }

  /** What is on its way is sent before the door closes. */
  leave() {
    this.#isLeft = true;
    this.setTyping(false);
    this.#closeIfDone();
  }

  #closeIfDone() {
    if (!this.#isLeft || this.#sending) return;
    this.#socket?.close();
    this.#noteSocket?.close();
    this.#socket = this.#noteSocket = null;
  }

  get isOpen() {
    return this.#socket !== null;
  }

  /** There may be another login now. */
  retryNow() {
    this.#socket?.retryNow();
    this.#noteSocket?.retryNow();
  }

  async #reload() {
    const [conversation, page] = await this.#final(Promise.all([this.#api.get(this.#path), this.#api.get(`${this.#path}messages/`)]));
    this.setConversation(conversation);
    this.thread.replace(page);
    this.#changed();
    return page.last_seq;
  }

  async #reloadNotes() {
    const page = await this.#api.get(`${this.#path}notes/`).catch((/** @type {unknown} */ problem) => {
      if (isFinal(problem)) this.#noteSocket?.close();
      throw problem;
    });
    this.thread.replaceNotes(page);
    await this.#completeNotes();
    this.#changed();
    return page.last_seq;
  }

  /** Asking again for what is not there, or not for us, is of no use. @template T @param {Promise<T>} answer @returns {Promise<T>} */
  async #final(answer) {
    try {
      return await answer;
    } catch (problem) {
      if (isFinal(problem)) {
        this.problem = problem;
        this.#socket?.close();
      }
      throw problem;
    }
  }

  /** @param {Conversation} conversation */
  setConversation(conversation) {
    this.conversation = conversation;
    this.thread.people = conversation.participants;
  }

  /** @param {State} state @param {Error} [problem] */
  #connection(state, problem) {
    this.#state = state;
    this.#fallback.follow(state);
    if (state !== "live") this.thread.disconnected();
    if (problem && state === "stopped") this.problem = problem;
    this.#changed();
  }

  // Without a socket

  async #poll() {
    const [conversation, page, notes] = await this.#final(
      Promise.all([
        this.#api.get(this.#path),
        this.#api.get(`${this.#path}messages/`),
        this.#noteSocket && this.#api.get(`${this.#path}notes/`),
      ]),
    );
    if (this.#socket?.isLive || page.last_seq < (this.#socket?.lastSeq ?? 0)) return; // it knows better
    this.setConversation(conversation);
    this.thread.refresh(page);
    this.thread.readOf(conversation.participants);
    if (notes) this.thread.refreshNotes(notes);
    this.#sendRead();
    this.#changed();
  }

  /** What waits for the socket goes by REST, under the same id: nothing is stored twice. */
  #blocked() {
    if (this.#fallback.isBlocked) for (const { client_message_id: id } of this.#socket?.unacknowledged ?? []) this.#socket?.withdraw(id);
    this.#changed();
  }

  /** @param {Frame} frame */
  #frame(frame) {
    this.thread.apply(frame);
    if (frame.type === "connection_established") this.#sendRead();
    if (frame.type === "error" && frame.ref === "message_read") this.#readFailed(frame);
    if (frame.type === "conversation_updated") this.updated(frame.conversation);
    if (frame.type === "chat_message" && !this.#knows(frame.sender_id)) this.refreshConversation();
    this.#changed();
  }

  /** @param {number} userId */
  #knows(userId) {
    return this.conversation === null || this.conversation.participants.some(({ user_id }) => user_id === userId);
  }

  /** @param {Partial<Conversation>} change */
  updated(change) {
    if (this.conversation) this.setConversation({ ...this.conversation, ...change });
    this.#changed();
  }

  async refreshConversation() {
    try {
      this.setConversation(await this.#api.get(this.#path));
      this.#changed();
    } catch {
      // It is as old as it was; the next frame or opening asks again.
    }
  }

  #changed() {
    this.#outbox.set(this.thread.letters);
    this.#onChange(this);
  }

  // History

  /** @returns {Promise<boolean>} whether it could be loaded */
  async loadEarlier() {
    if (this.#isFetching || !this.thread.hasEarlier) return true;
    this.#isFetching = true;
    try {
      const beforeId = this.thread.oldestId;
      this.thread.addEarlier(await this.#currentPage(beforeId), beforeId);
      await this.#completeNotes();
      this.hasEarlierProblem = false;
    } catch {
      this.hasEarlierProblem = true;
    }
    this.#isFetching = false;
    this.#changed();
    return !this.hasEarlierProblem;
  }

  /** A page that was read before the last event may not have it (an edit, say): ask again. @param {number} beforeId */
  async #currentPage(beforeId) {
    const ask = () => this.#api.get(`${this.#path}messages/`, { before_id: beforeId });
    const page = await ask();
    return page.last_seq < (this.#socket?.lastSeq ?? 0) ? ask() : page;
  }

  async #completeNotes() {
    while (this.#noteSocket && this.thread.lacksNotes) {
      const beforeId = this.thread.oldestNoteId;
      this.thread.addEarlierNotes(await this.#api.get(`${this.#path}notes/`, { before_id: beforeId }), beforeId);
    }
  }

  // Sending

  /** Shown at once; sent until it is acknowledged. @param {string} text @param {boolean} isNote */
  send(text, isNote) {
    const letter = { id: newId(), isNote, text, created_at: new Date().toISOString(), problem: null };
    this.thread.addLetter(letter);
    this.#toldTypingAt = -Infinity; // the server ends it with the message
    this.#deliver(letter);
  }

  /** @param {string} id */
  retry(id) {
    const letter = this.thread.letters.find((one) => one.id === id);
    if (!letter) return;
    this.thread.setProblem(id, null);
    this.#deliver(letter);
  }

  /** @param {string} id */
  discard(id) {
    this.thread.removeLetter(id);
    this.#changed();
  }

  /** @param {import("./state.js").Letter} letter */
  async #deliver({ id, text, isNote }) {
    this.#sending++;
    this.#changed();
    try {
      if (isNote) this.thread.putNote(await this.#post("notes/", { text, client_note_id: id }));
      else this.thread.acknowledge(id, await this.#sendMessage(text, id));
    } catch (problem) {
      this.thread.setProblem(id, problemText(problem));
    }
    this.#sending--;
    this.#changed();
    this.#closeIfDone();
  }

  /** @param {string} text @param {string} id @returns {Promise<any>} */
  async #sendMessage(text, id) {
    if (this.state !== "blocked" && !this.#posting) {
      try {
        return await /** @type {RealtimeSocket} */ (this.#socket).sendMessage(text, id);
      } catch (problem) {
        if (!(problem instanceof RealtimeError) || problem.code !== "withdrawn") throw problem;
      }
    }
    this.#posting++;
    const posted = this.#posted.then(() => this.#post("messages/", { message: text, client_message_id: id }));
    this.#posted = posted.catch(() => {});
    return posted.finally(() => this.#posting--);
  }

  /** The server stores an id once, so asking again is safe. @param {"messages/" | "notes/"} kind @param {object} body */
  #post(kind, body) {
    return this.#api.post(this.#path + kind, body, { isPatient: true });
  }

  /** Throws what the server refuses. @param {number} messageId @param {string} text */
  async edit(messageId, text) {
    await this.#api.patch(`${this.#path}messages/${messageId}/`, { message: text });
  }

  /** @param {number} messageId */
  async remove(messageId) {
    await this.#api.delete(`${this.#path}messages/${messageId}/`);
  }

  /** Shown once the server has it. @param {number} noteId @param {string} text */
  async editNote(noteId, text) {
    await this.#api.patch(`${this.#path}notes/${noteId}/`, { text });
  }

  /** @param {number} noteId */
  async removeNote(noteId) {
    await this.#api.delete(`${this.#path}notes/${noteId}/`);
  }

  /** @param {number} messageId */
  async unmask(messageId) {
    const { message } = await this.#api.post(`${this.#path}messages/${messageId}/unmask/`, {}, { most: 4, isIdempotent: false }); // each is in the audit log
    this.thread.unmask(messageId, message);
    this.#changed();
  }

  /** @param {object} change */
  async update(change) {
    this.setConversation(await this.#api.patch(this.#path, change));
    this.#changed();
  }

  async claim() {
    this.setConversation(await this.#api.post(`${this.#path}claim/`));
    this.#changed();
  }

  // What the others are told

  /** @param {boolean} isTyping */
  setTyping(isTyping) {
    const now = performance.now();
    const isTold = this.#toldTypingAt > -Infinity;
    if (isTyping ? now - this.#toldTypingAt < TYPING_AGAIN_MS : !isTold) return;
    if (this.#socket?.send({ type: "typing", is_typing: isTyping })) this.#toldTypingAt = isTyping ? now : -Infinity;
  }

  /** All up to here was seen. Who only looks at a trip does not join it by that. */
  markRead() {
    const takesPart = this.conversation?.participants.some(({ user_id }) => user_id === this.#me.user_id);
    if (!this.conversation || (this.conversation.kind === "trip" && !takesPart)) return;
    if (this.thread.newestId <= this.#readUpTo) return;
    this.#readUpTo = this.thread.newestId;
    this.#readTries = 0;
    this.#sendRead();
  }

  #sendRead() {
    if (this.#readUpTo <= this.thread.readBy(this.#me.user_id)) return;
    const isSent = this.#socket?.send({ type: "message_read", up_to_id: this.#readUpTo });
    if (!isSent && this.state === "blocked") this.#postRead(this.#readUpTo);
  }

  /** @param {Frame} error */
  #readFailed(error) {
    const delay = retryDelay(error, ++this.#readTries);
    if (delay !== null) setTimeout(() => this.#sendRead(), delay);
    else this.#readTries = 0;
  }

  /** If it fails, it is repeated after the next poll. @param {number} upToId */
  async #postRead(upToId) {
    await this.#api.post(`${this.#path}read/`, { up_to_id: upToId }).catch(() => {});
  }
}

/** @param {unknown} problem @returns {problem is RealtimeError} */
function isFinal(problem) {
  return problem instanceof AnotherUser || (problem instanceof Refused && (problem.status === 403 || problem.status === 404));
}

function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
