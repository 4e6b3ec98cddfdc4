// @ts-check
// What is known: Thread of one conversation, Conversations of the list. No I/O, no page.

/**
 * @typedef {import("../../realtime/holodrive-realtime.js").Frame} Frame
 * @typedef {{user_id: number, name: string}} Person
 * @typedef {Person & {role: string, last_read_id?: number, last_delivered_id?: number}} Participant
 * @typedef {{message_id: number, message: string, sender_id: number, sender_name: string, created_at: string,
 *   deleted_at: string | null}} Preview
 * @typedef {"open" | "pending" | "snoozed" | "resolved" | "closed"} Status
 * @typedef {"low" | "normal" | "high" | "urgent"} Priority
 * @typedef {{id: number, kind: string, subject: string, status: Status, created_at: string, closes_at: string | null,
 *   last_message_at: string | null, unread_count: number, participants: Participant[], last_message: Preview | null,
 *   assignee?: Person | null, priority?: Priority, waiting_since?: string | null, snoozed_until?: string | null}}
 *   Conversation
 * @typedef {{message_id: number, message: string, sender_id: number, sender_name: string, is_from_support: boolean,
 *   created_at: string, client_message_id: string | null, edited_at?: string, deleted_at?: string, masked?: boolean}}
 *   Message
 * @typedef {{note_id: number, text: string, author_id: number, author_name: string, client_note_id: string | null,
 *   created_at: string, edited_at?: string, deleted_at?: string}} Note
 * @typedef {{id: string, isNote: boolean, text: string, created_at: string, problem: string | null}} Letter
 *   on its way, or refused with a problem
 * @typedef {"sent" | "delivered" | "read"} Tick
 * @typedef {"mine" | "unassigned" | "all" | "closed"} Filter
 * @typedef {{key: string, at: string, authorId: number, authorName: string, text: string, isFromSupport: boolean,
 *   isMine: boolean, isNote: boolean, message?: Message, letter?: Letter, note?: Note, tick?: Tick,
 *   canChange?: boolean, isEdited?: boolean, isDeleted?: boolean, unmasked?: boolean}} Entry one bubble
 */

const EDITABLE_MS = 15 * 60_000;
const ACTIVE = new Set(["open", "pending", "snoozed"]);

/** The messages of a conversation without holes, its notes, and who has read what. */
export class Thread {
  #me;
  /** @type {Map<number, Message>} */ #messages = new Map();
  /** @type {Map<number, Note>} */ #notes = new Map();
  /** @type {Map<string, Letter>} */ #letters = new Map();
  /** @type {Map<number, {read: number, delivered: number}>} */ #cursors = new Map();
  /** @type {Map<number, string>} */ #typing = new Map();
  /** @type {Map<number, string>} */ #unmasked = new Map();
  /** @type {Set<number>} */ online = new Set();
  /** @type {Map<number, string>} */ lastSeen = new Map();
  /** @type {Participant[]} */ people = [];
  isLoaded = false;
  hasEarlier = false;
  hasEarlierNotes = false;

  /** @param {Person} me */
  constructor(me) {
    this.#me = me;
  }

  get oldestId() {
    return Math.min(Infinity, ...this.#messages.keys());
  }

  get newestId() {
    return Math.max(0, ...this.#messages.keys());
  }

  /** The newest message. */
  get newest() {
    return this.#messages.get(this.newestId);
  }

  get oldestNoteId() {
    return Math.min(Infinity, ...this.#notes.keys());
  }

  /** Whether the notes that are known go back less far than the messages. */
  get lacksNotes() {
    const oldest = this.#notes.get(this.oldestNoteId);
    const reach = this.#messages.get(this.oldestId);
    if (!this.hasEarlierNotes || !oldest) return false;
    return !this.hasEarlier || !reach || isBefore(reach.created_at, oldest.created_at);
  }

  /** @param {number} userId */
  readBy(userId) {
    return this.#cursors.get(userId)?.read ?? 0;
  }

  /** The names of who is typing. */
  get typing() {
    return [...this.#typing.values()];
  }

  /** @returns {Letter[]} */
  get letters() {
    return [...this.#letters.values()];
  }

  // Pages

  /** @param {{results: Message[], has_more: boolean}} page the latest */
  replace(page) {
    this.#messages.clear();
    this.isLoaded = true;
    this.addEarlier(page, Infinity);
  }

  /** A page asked for before the thread was replaced would leave a hole. @param {{results: Message[], has_more: boolean}} page @param {number} beforeId */
  addEarlier(page, beforeId) {
    if (beforeId !== this.oldestId) return;
    for (const message of page.results) this.#put(message);
    this.hasEarlier = page.has_more;
  }

  /** Takes in the latest page without losing the earlier ones, unless there is a hole between. @param {{results: Message[], has_more: boolean}} page */
  refresh(page) {
    const [oldest] = page.results;
    if (!oldest || oldest.message_id > this.newestId) return this.replace(page);
    for (const message of page.results) this.#refreshed(message);
  }

  /** What is shown in clear stays so, unless it has changed. @param {Message} message */
  #refreshed(message) {
    const known = this.#messages.get(message.message_id);
    if (known && (known.message !== message.message || known.deleted_at !== message.deleted_at)) this.#unmasked.delete(message.message_id);
    this.#put(message);
  }

  /** @param {{results: Note[], has_more: boolean}} page */
  refreshNotes(page) {
    const [oldest] = page.results;
    if (!oldest || oldest.note_id > Math.max(0, ...this.#notes.keys())) return this.replaceNotes(page);
    for (const note of page.results) this.putNote(note);
  }

  /** @param {{results: Note[], has_more: boolean}} page the latest */
  replaceNotes(page) {
    this.#notes.clear();
    this.addEarlierNotes(page, Infinity);
  }

  /** @param {{results: Note[], has_more: boolean}} page @param {number} beforeId */
  addEarlierNotes(page, beforeId) {
    if (beforeId !== this.oldestNoteId) return;
    for (const note of page.results) this.putNote(note);
    this.hasEarlierNotes = page.has_more;
  }

  // Frames

  /** @param {Frame} frame */
  apply(frame) {
    if (frame.type === "connection_established") this.#welcome(frame);
    else if (frame.type === "chat_message") this.#arrived(/** @type {any} */ (frame));
    else if (frame.type === "message_edited") this.#change(frame.message_id, { message: frame.message, edited_at: frame.edited_at, masked: frame.masked });
    else if (frame.type === "message_deleted") this.#change(frame.message_id, { message: "", deleted_at: frame.deleted_at, masked: undefined });
    else if (frame.type === "message_read") this.#moved(frame.user_id, frame.up_to_id, frame.up_to_id);
    else if (frame.type === "message_delivered") this.#moved(frame.user_id, 0, frame.up_to_id);
    else if (frame.type === "typing") this.#types(frame);
    else if (frame.type === "presence") this.#presence(frame);
    else if (frame.type === "participant_removed") this.people = this.people.filter((one) => one.user_id !== frame.user_id);
    else if (frame.type === "note") this.putNote(/** @type {any} */ (frame));
    else if (frame.type === "note_edited") this.#changeNote(frame.note_id, { text: frame.text, edited_at: frame.edited_at });
    else if (frame.type === "note_deleted") this.#changeNote(frame.note_id, { text: "", deleted_at: frame.deleted_at });
  }

  /** What is in no log may have been missed: the first frame says it anew. @param {Frame} frame */
  #welcome({ receipts = [], online = [] }) {
    this.#typing.clear();
    this.online = new Set(online);
    this.readOf(receipts);
  }

  /** @param {{user_id: number, last_read_id?: number, last_delivered_id?: number}[]} receipts */
  readOf(receipts) {
    for (const { user_id, last_read_id = 0, last_delivered_id = 0 } of receipts) this.#moved(user_id, last_read_id, last_delivered_id);
  }

  /** @param {Message} message */
  #arrived(message) {
    this.#typing.delete(message.sender_id);
    this.#moved(message.sender_id, message.message_id, message.message_id); // who answers has read what came before
    const isInHole = message.message_id < this.oldestId && this.hasEarlier;
    if (this.isLoaded && !isInHole && !this.#messages.has(message.message_id)) this.#put(message);
  }

  /** @param {Message} message */
  #put(message) {
    this.#messages.set(message.message_id, message);
    const isOwn = message.sender_id === this.#me.user_id;
    if (isOwn && message.client_message_id) this.#letters.delete(message.client_message_id);
  }

  /** @param {Note} note */
  putNote(note) {
    this.#notes.set(note.note_id, note);
    if (note.author_id === this.#me.user_id && note.client_note_id) this.#letters.delete(note.client_note_id);
  }

  /** @param {number} id @param {Partial<Message>} fields */
  #change(id, fields) {
    const message = this.#messages.get(id);
    if (!message) return;
    this.#messages.set(id, { ...message, ...fields });
    this.#unmasked.delete(id);
  }

  /** @param {number} id @param {Partial<Note>} fields */
  #changeNote(id, fields) {
    const note = this.#notes.get(id);
    if (note) this.#notes.set(id, { ...note, ...fields });
  }

  /** @param {number} userId @param {number} read @param {number} delivered */
  #moved(userId, read, delivered) {
    const known = this.#cursors.get(userId) ?? { read: 0, delivered: 0 };
    this.#cursors.set(userId, { read: Math.max(known.read, read), delivered: Math.max(known.delivered, delivered, read) });
  }

  /** @param {Frame} frame */
  #types({ user_id, user_name, is_typing }) {
    if (is_typing) this.#typing.set(user_id, user_name);
    else this.#typing.delete(user_id);
    if (is_typing) this.online.add(user_id); // whatever is known of the presence
  }

  /** @param {Frame} frame */
  #presence({ user_id, status, last_seen }) {
    if (status === "online") this.online.add(user_id);
    else this.online.delete(user_id);
    if (last_seen) this.lastSeen.set(user_id, last_seen);
  }

  /** Nobody is heard without a connection. */
  disconnected() {
    this.#typing.clear();
    this.online.clear();
  }

  /** @param {number} id @param {string} text the original of a masked message */
  unmask(id, text) {
    this.#unmasked.set(id, text);
  }

  // One's own, before the server has it

  /** @param {Letter} letter */
  addLetter(letter) {
    const isStored =
      [...this.#messages.values()].some((one) => one.client_message_id === letter.id && one.sender_id === this.#me.user_id) ||
      [...this.#notes.values()].some((one) => one.client_note_id === letter.id && one.author_id === this.#me.user_id);
    if (!isStored) this.#letters.set(letter.id, letter);
    return !isStored;
  }

  /** @param {string} id */
  removeLetter(id) {
    this.#letters.delete(id);
  }

  /** @param {string} id @param {string | null} problem */
  setProblem(id, problem) {
    const letter = this.#letters.get(id);
    if (letter) this.#letters.set(id, { ...letter, problem });
  }

  /** The message is stored; its frame may come later, or came long ago. @param {string} id @param {Frame} ack */
  acknowledge(id, { message_id, created_at }) {
    const letter = this.#letters.get(id);
    this.#letters.delete(id);
    if (!letter || this.#messages.has(message_id)) return;
    this.#arrived({
      message_id,
      created_at,
      message: letter.text,
      sender_id: this.#me.user_id,
      sender_name: this.#me.name,
      is_from_support: true,
      client_message_id: id,
    });
  }

  // What is seen

  /** By message id; notes stand behind the messages that they came after; last what is not stored yet. @returns {Entry[]} */
  get entries() {
    const messages = [...this.#messages.values()].sort((a, b) => a.message_id - b.message_id);
    const reach = this.hasEarlier ? messages[0]?.created_at : undefined;
    const notes = [...this.#notes.values()]
      .sort((a, b) => a.note_id - b.note_id)
      .filter((note) => reach === undefined || !isBefore(note.created_at, reach));
    /** @type {Entry[]} */ const entries = [];
    for (const message of messages) {
      while (notes[0] && isBefore(notes[0].created_at, message.created_at)) entries.push(this.#noteEntry(/** @type {Note} */ (notes.shift())));
      entries.push(this.#messageEntry(message));
    }
    entries.push(...notes.map((note) => this.#noteEntry(note)), ...this.letters.map((letter) => this.#letterEntry(letter)));
    return entries;
  }

  /** The newest of one's own that can still be edited. */
  get lastEditable() {
    return this.entries.filter((entry) => entry.canChange && !entry.isNote && isEditable(entry)).at(-1);
  }

  /** @param {Message} message @returns {Entry} */
  #messageEntry(message) {
    const isMine = message.sender_id === this.#me.user_id;
    const original = this.#unmasked.get(message.message_id);
    return {
      key: `message-${message.client_message_id && isMine ? message.client_message_id : message.message_id}`,
      at: message.created_at,
      authorId: message.sender_id,
      authorName: message.sender_name,
      text: original ?? message.message,
      unmasked: original !== undefined,
      isFromSupport: message.is_from_support,
      isMine,
      isNote: false,
      message,
      tick: message.is_from_support ? this.#tick(message) : undefined,
      isDeleted: Boolean(message.deleted_at),
      isEdited: Boolean(message.edited_at) && !message.deleted_at,
      canChange: isMine && !message.deleted_at,
    };
  }

  /** @param {Note} note @returns {Entry} */
  #noteEntry(note) {
    const isMine = note.author_id === this.#me.user_id;
    const key = `note-${note.client_note_id && isMine ? note.client_note_id : note.note_id}`;
    const { created_at: at, author_id: authorId, author_name: authorName, text } = note;
    const isDeleted = Boolean(note.deleted_at);
    const isEdited = Boolean(note.edited_at) && !isDeleted;
    return { key, at, authorId, authorName, text, isFromSupport: true, isMine, isNote: true, note, isDeleted, isEdited, canChange: isMine && !isDeleted };
  }

  /** @param {Letter} letter @returns {Entry} */
  #letterEntry(letter) {
    const { user_id: authorId, name: authorName } = this.#me;
    const key = `${letter.isNote ? "note" : "message"}-${letter.id}`;
    const { created_at: at, text, isNote } = letter;
    return { key, at, authorId, authorName, text, isFromSupport: true, isMine: true, isNote, letter };
  }

  /** As the last of the riders and drivers has it. @param {Message} message @returns {Tick} */
  #tick({ message_id }) {
    const others = this.people.filter(({ role }) => role !== "support").map(({ user_id }) => this.#cursors.get(user_id));
    if (others.length && others.every((cursors) => (cursors?.read ?? 0) >= message_id)) return "read";
    if (others.length && others.every((cursors) => (cursors?.delivered ?? 0) >= message_id)) return "delivered";
    return "sent";
  }
}

/** @param {string} a @param {string} b timestamps of the wire, all of one length and zone */
function isBefore(a, b) {
  return a < b;
}

/** Notes always. As the server judges it, by this machine's clock: the server has the last word. @param {Entry} entry */
export function isEditable(entry) {
  return entry.isNote || Date.now() - new Date(entry.at).getTime() < EDITABLE_MS;
}

/** The pages of one filter or search that were loaded, kept up to date. */
export class Conversations {
  #me;
  /** @type {Map<number, Conversation>} */ #byId = new Map();
  /** @type {Filter} */ filter = "all";
  search = "";
  /** @type {string | null} */ next = null;
  isLoaded = false;
  /** Why it could not be loaded, for people. @type {string | null} */ problem = null;
  /** @type {number | null} */ #open = null;
  /** Opened since the list was loaded: they keep their places, so that "next" and "previous" mean what is seen. @type {Set<number>} */
  #wereUnread = new Set();

  /** @param {number} me */
  constructor(me) {
    this.#me = me;
  }

  /** @param {number} id */
  get(id) {
    return this.#byId.get(id);
  }

  get size() {
    return this.#byId.size;
  }

  /** Unread first, then the newest message first. @returns {Conversation[]} */
  get sorted() {
    const rank = (/** @type {Conversation} */ item) => (this.#isFirst(item) ? 0 : 1);
    const moment = (/** @type {Conversation} */ item) => item.last_message_at ?? "9"; // without a message before all others
    return [...this.#byId.values()].sort(
      (a, b) => rank(a) - rank(b) || compare(moment(b), moment(a)) || b.id - a.id,
    );
  }

  /** @param {Conversation} item */
  #isFirst(item) {
    if (this.filter === "closed") return false;
    return unreadOf(item, this.#me) > 0 || this.#wereUnread.has(item.id);
  }

  /** @param {number | null} id */
  open(id) {
    if (this.#open === id) return;
    const left = this.#open && this.#byId.get(this.#open);
    this.#open = id;
    const opened = id === null ? undefined : this.#byId.get(id);
    if (opened && unreadOf(opened, this.#me)) this.#wereUnread.add(opened.id);
    if (left && !this.#belongs(left)) this.#byId.delete(left.id);
  }

  /** @param {Filter} filter @param {string} search */
  show(filter, search) {
    this.filter = filter;
    this.search = search;
    this.#byId.clear();
    this.#wereUnread.clear();
    this.next = this.problem = null;
    this.isLoaded = false;
  }

  /** @param {{results: Conversation[], next: string | null}} page the first */
  replace(page) {
    const open = this.#open && this.#byId.get(this.#open);
    const { next } = this;
    const behind = this.#behind(page);
    this.#byId.clear();
    if (open && !this.search) this.#byId.set(open.id, open);
    this.#wereUnread = new Set(open && this.#wereUnread.has(open.id) ? [open.id] : []);
    this.isLoaded = true;
    this.problem = null;
    this.add(page);
    if (behind.length === 0) return;
    for (const item of behind) if (!this.#byId.has(item.id)) this.#byId.set(item.id, item);
    this.next = next;
  }

  /** What was loaded behind the last of the first page stays, and with it the place of who has scrolled there. @param {{results: Conversation[], next: string | null}} page */
  #behind({ results, next }) {
    const known = this.sorted;
    const place = known.findIndex(({ id }) => id === results.at(-1)?.id);
    return next === null || place === -1 ? [] : known.slice(place + 1);
  }

  /** @param {{results: Conversation[], next: string | null}} page */
  add(page) {
    for (const item of page.results) this.#byId.set(item.id, item);
    this.next = page.next;
  }

  /** @param {Conversation} item as the server has it now */
  put(item) {
    if (this.#belongs(item)) this.#byId.set(item.id, item);
    else if (item.id === this.#open && this.#byId.has(item.id)) this.#byId.set(item.id, item);
    else this.#byId.delete(item.id);
  }

  /**
   * Takes in a frame of the queue. Returns the id of a conversation that is to be fetched: one that belongs here and is
   * not known.
   * @param {Frame} frame @returns {number | null}
   */
  apply(frame) {
    if (frame.type === "conversation_updated") return this.#updated(frame.conversation);
    if (frame.type === "conversation_activity") return this.#active(frame);
    if (frame.type === "conversation_read" && frame.user_id === this.#me) this.read(frame.conversation_id, frame.up_to_id);
    return null;
  }

  /** @param {Partial<Conversation> & {id: number}} change @returns {number | null} */
  #updated(change) {
    const known = this.#byId.get(change.id);
    if (known) this.put({ ...known, ...change });
    else if (!this.search && this.#belongs(/** @type {Conversation} */ (change))) return change.id;
    return null;
  }

  /** @param {Frame} frame @returns {number | null} */
  #active({ conversation_id, kind, last_message_at, last_message }) {
    const known = this.#byId.get(conversation_id);
    const mayBelong = !this.search && (kind !== "trip" || this.filter === "all" || this.filter === "mine");
    if (!known) return mayBelong ? conversation_id : null;
    const newest = known.last_message?.message_id ?? 0;
    if (last_message.message_id < newest) return null;
    const isNew = last_message.message_id > newest; // else it was taken back
    const isOwn = last_message.sender_id === this.#me; // who answers has read what came before
    const unread_count = isOwn ? 0 : known.unread_count + Number(isNew);
    this.#byId.set(conversation_id, { ...known, last_message_at, last_message, unread_count });
    return null;
  }

  /** What an open conversation has heard; what tells the list may be lost. @param {number} id @param {Message} message its newest */
  heard(id, message) {
    if (!this.#byId.has(id)) return;
    const last_message = { ...message, deleted_at: message.deleted_at ?? null };
    this.#active({ type: "conversation_activity", conversation_id: id, last_message_at: message.created_at, last_message });
  }

  /** @param {number} id @param {number} upToId the newest message that was read */
  read(id, upToId) {
    const known = this.#byId.get(id);
    if (known?.unread_count && upToId >= (known.last_message?.message_id ?? 0)) this.#byId.set(id, { ...known, unread_count: 0 });
  }

  /** Whether the filter shows it. @param {Conversation} item */
  #belongs(item) {
    if (this.search) return this.#byId.has(item.id); // only the server can search
    if (this.filter === "closed") return !ACTIVE.has(item.status);
    if (!ACTIVE.has(item.status)) return false;
    if (this.filter === "mine") return item.assignee?.user_id === this.#me;
    if (this.filter === "unassigned") return !item.assignee && item.kind === "support";
    return true;
  }
}

/** @param {string} a @param {string} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Of a trip that one only looks at, nothing is unread. @param {Conversation} item @param {number} me */
export function unreadOf(item, me) {
  const takesPart = item.participants.some(({ user_id }) => user_id === me);
  return item.kind === "trip" && !takesPart ? 0 : item.unread_count;
}

/** Who it is with: riders and drivers. @param {{participants: Participant[], subject?: string, id: number}} conversation */
export function counterparts({ participants }) {
  return participants.filter(({ role }) => role !== "support");
}
