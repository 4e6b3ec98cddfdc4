// @ts-check
// Ties the parts of the console together: what the agent does, what the server says, and the address of the page.

import { AnotherUser, RealtimeError, connect } from "../../realtime/holodrive-realtime.js";
import { problemText } from "../../notifications/problems.js";
import { Refused } from "../../notifications/requests.js";
import { loginLink, onLogin } from "../../notifications/session.js";
import { Api } from "./api.js";
import { Composer } from "./composer.js";
import { DetailsView } from "./details.js";
import { element, find, onceAFrame } from "./dom.js";
import { Fallback, POLL_SECONDS } from "./fallback.js";
import { ListView } from "./list.js";
import { Room } from "./room.js";
import { listenForKeys } from "./shortcuts.js";
import { Conversations } from "./state.js";
import { drafts } from "./storage.js";
import { ThreadView } from "./thread.js";
import { fill, gettext } from "./words.js";

/**
 * @typedef {import("../../realtime/holodrive-realtime.js").Frame} Frame
 * @typedef {import("./state.js").Entry} Entry
 * @typedef {import("./state.js").Filter} Filter
 */

const PAGE_SIZE = 30;
const REFRESH_MS = 60_000; // what tells of activity may be lost
const SOON_MS = 3_000;
const TOAST_MS = 8_000;
const ANNOUNCE_AFTER_MS = 1_000;

/** @type {Omit<import("./api.js").Settings, "login"> & {me: import("./state.js").Person, permissions: string[], longest_message: number, change_url: string}} */
const settings = JSON.parse(find("#console-settings").textContent ?? "");
const { me } = settings;
const page = find("#console");
const { csrfToken = "", csrfCookie = "", loginUrl = "" } = find("#console-login").dataset;
const api = new Api({ ...settings, login: { userId: me.user_id, csrfToken, csrfCookie } });
const permissions = new Set(settings.permissions);
const may = (/** @type {string} */ permission) => permissions.has(permission);

const conversations = new Conversations(me.user_id);
const list = new ListView(me.user_id);
const threadView = new ThreadView(may("chat.unmask_message"));
const composer = new Composer(settings.longest_message);
const details = new DetailsView(me, may, settings.change_url);
/** @type {Map<number, Room>} */ const rooms = new Map();
/** @type {Room | null} */ let room = null;

const drawList = onceAFrame(() => list.show(conversations, room?.id ?? null));
const drawRoom = onceAFrame(() => {
  if (!room) return;
  threadView.show();
  details.show(room);
  showConnection(room);
  showComposer(room);
});

// The list

let lastLoad = 0;
let isLoading = false;
let changedWhileLoading = false;

/** @param {string | null} cursor */
function fetchList(cursor) {
  const { filter, search: q } = conversations;
  return api.get("conversations/", { filter, q, cursor, limit: PAGE_SIZE });
}

const queueFallback = new Fallback(async () => {
  const problem = await loadList();
  if (problem !== null) throw problem;
}, showQueueState);

/** @returns {Promise<unknown>} why the server did not answer; null if it did */
async function loadList() {
  const load = ++lastLoad;
  isLoading = true;
  changedWhileLoading = false;
  const answer = await fetchList(null).catch((/** @type {unknown} */ problem) => ({ problem }));
  if (load !== lastLoad) return answer.problem ?? null; // another filter or search meanwhile
  isLoading = false;
  if (answer.problem instanceof AnotherUser) stopQueue(answer.problem);
  if (answer.results) conversations.replace(answer);
  else if (!conversations.isLoaded) conversations.problem = problemText(answer.problem);
  drawList();
  // Read before the change, or behind it: nobody knows.
  if (answer.results && changedWhileLoading) loadList();
  return answer.problem ?? null;
}

/** @param {AnotherUser} problem */
function stopQueue(problem) {
  queueSocket.close();
  queue = { state: "stopped", problem };
  showQueueState();
}

let isLoadingMore = false;

async function loadMore() {
  const { next } = conversations;
  if (isLoadingMore || next === null) return;
  isLoadingMore = true;
  const answer = await fetchList(next).catch(() => null);
  isLoadingMore = false;
  if (answer && conversations.next === next) conversations.add(answer);
  drawList();
}

/** @param {Filter} filter @param {string} search */
function showList(filter, search) {
  if (filter === conversations.filter && search === conversations.search && conversations.isLoaded) return;
  conversations.show(filter, search);
  drawList();
  loadList();
}

/** @param {number} id */
async function fetchConversation(id) {
  const conversation = await api.get(`conversations/${id}/`, {}, { most: 3 }).catch(() => null);
  if (conversation) conversations.put(conversation);
  drawList();
}

/** @type {ReturnType<typeof setTimeout> | undefined} */ let soonTimer;

/** Trips are many: one question for all that begin meanwhile. */
function loadListSoon() {
  soonTimer ??= setTimeout(() => {
    soonTimer = undefined;
    loadList();
  }, SOON_MS);
}

/** @param {Frame} frame */
function onQueueFrame(frame) {
  if (frame.type === "connection_established" || (frame.type === "resumed" && !frame.recovered)) loadList();
  if (isLoading && frame.seq) changedWhileLoading = true;
  const unknown = conversations.apply(frame);
  if (unknown !== null && frame.kind === "trip") loadListSoon();
  else if (unknown !== null) fetchConversation(unknown);
  const { conversation } = frame;
  if (frame.type === "conversation_updated" && room?.conversation && room.id === conversation.id) room.updated(conversation);
  drawList();
}

// The conversation

/** @param {number | null} id @param {{isFromHistory?: boolean}} [how] */
function open(id, { isFromHistory = false } = {}) {
  if (id === (room?.id ?? null)) return id === null ? undefined : showColumn("thread");
  room?.leave();
  conversations.open(id);
  room = id === null ? null : roomOf(id);
  if (!isFromHistory) history.pushState(null, "", id === null ? location.pathname : `?conversation=${id}`);
  find(".console-welcome").hidden = room !== null;
  find(".console-room").hidden = room === null;
  page.classList.toggle("console-has-room", room !== null);
  threadView.enter(room);
  showColumn(room ? "thread" : "list");
  showQueueState();
  drawList();
  if (room) enter(room);
}

/** One that still sends is taken up again. @param {number} id */
function roomOf(id) {
  const known = rooms.get(id);
  if (known?.isOpen) return known;
  const made = new Room(id, api, me, (changed) => {
    if (changed === room) drawRoom();
    if (changed === room && changed.conversation) tellList(changed);
    if (!changed.isOpen && changed !== room) rooms.delete(changed.id);
  });
  rooms.set(id, made);
  return made;
}

/** @param {Room} entered */
async function enter(entered) {
  entered.enter(may("chat.view_note"));
  composer.enter(drafts(me.user_id, entered.id).get());
  drawRoom();
  const answer = await api.get("canned-replies/", { conversation: entered.id }, { isPatient: true }).catch(() => null);
  if (answer && entered === room) composer.offerReplies(answer.results);
}

/** @param {Room} changed */
function tellList({ id, thread }) {
  if (thread.newest) conversations.heard(id, thread.newest);
  conversations.read(id, thread.readBy(me.user_id));
  drawList();
}

/** @param {"list" | "thread" | "details"} column */
function showColumn(column) {
  const isSeen = page.dataset.shows === column;
  page.dataset.shows = column;
  find(".console-details-button").setAttribute("aria-expanded", String(isShown(find("#console-details"))));
  if (isSeen || column === "details") return;
  if (column === "thread") find("#console-thread-title").focus({ preventScroll: true });
}

/** @param {HTMLElement} node */
function isShown(node) {
  return getComputedStyle(node).display !== "none";
}

/** @param {Room} shown */
function showConnection({ state, problem, thread }) {
  const banner = find(".console-banner");
  let text = "";
  if (problem && !thread.isLoaded) text = roomProblemText(problem);
  else if (state === "signed-out") text = gettext("You are signed out. What you send goes out after a login.");
  else if (state === "stopped") text = problem ? roomProblemText(problem) : gettext("Not connected. Reload the page.");
  else if (state === "blocked") text = blockedText();
  else if (state === "waiting") text = navigator.onLine ? gettext("Reconnecting… What you send goes out then.") : gettext("You are offline. What you send goes out when the network is back.");
  else if (state === "connecting" && !banner.hidden) text = banner.textContent ?? ""; // until it is live
  say(banner, text, state);
  page.dataset.state = state;
}

/** A line that says why nothing comes, and leads to the login where that is why. @param {HTMLElement} line @param {string} text @param {string} state */
function say(line, text, state) {
  const parts = state === "signed-out" && text ? [text, " ", loginLink(loginUrl)] : [text];
  const whole = parts.map((part) => (typeof part === "string" ? part : part.textContent)).join("");
  if (line.textContent !== whole) line.replaceChildren(...parts);
  line.hidden = text === "";
}

/** @param {Error} problem */
function roomProblemText(problem) {
  const isUnknown = problem instanceof RealtimeError && problem.code === "not_found";
  return isUnknown ? gettext("There is no such conversation.") : problemText(problem);
}

function blockedText() {
  return fill(gettext("Live updates are blocked here: checking every %(count)s seconds."), { count: POLL_SECONDS });
}

/** @type {{state: import("../../realtime/holodrive-realtime.js").State, problem?: Error}} */ let queue = { state: "connecting" };

function showQueueState() {
  const { problem } = queue;
  const state = queueFallback.isSignedOut ? "signed-out" : queue.state;
  let text = "";
  if (room === null && queueFallback.isBlocked) text = blockedText(); // an open conversation says it
  else if (room === null && state === "signed-out") text = gettext("You are signed out.");
  else if (state === "stopped") text = problem ? problemText(problem) : gettext("Not connected. Reload the page.");
  say(find(".console-list-state"), text, state);
}

/** @param {Room} shown */
function showComposer({ conversation, problem }) {
  if (!conversation) return composer.allow([]);
  const isClosed = conversation.status === "closed" || (conversation.closes_at !== null && new Date(conversation.closes_at) <= new Date());
  /** @type {import("./composer.js").Mode[]} */ const modes = [];
  if (!isClosed && !problem && may("chat.reply_conversation")) modes.push("reply");
  if (!problem && may("chat.add_note")) modes.push("note");
  composer.allow(modes);
  const line = find(".console-readonly");
  line.textContent = isClosed ? gettext("This conversation is closed: no more messages.") : may("chat.reply_conversation") ? "" : gettext("You may read here, but not reply.");
  line.hidden = line.textContent === "" || Boolean(problem);
}

/** Runs what the server may refuse, and says so if it does. @param {() => Promise<void>} act @returns {Promise<boolean>} whether it did not */
async function attempt(act) {
  let isDone = true;
  try {
    await act();
  } catch (problem) {
    isDone = false;
    const winner = problem instanceof Refused && problem.code === "already_claimed" ? problem.body.assignee : null;
    if (winner) toast(fill(gettext("%(name)s was faster and has this conversation."), { name: winner.name }));
    else toast(problemText(problem));
    await room?.refreshConversation();
  }
  if (room?.conversation) conversations.put({ ...(conversations.get(room.id) ?? room.conversation), ...workflowOf(room.conversation) });
  drawList();
  drawRoom();
  return isDone;
}

/** What a control changes, without what the list knows better. @param {import("./state.js").Conversation} conversation */
function workflowOf({ status, assignee, priority, snoozed_until, waiting_since }) {
  return { status, assignee, priority, snoozed_until, waiting_since };
}

/** @param {string} text */
function toast(text) {
  const made = element("p", "console-toast", text);
  find(".console-toasts").replaceChildren(made);
  setTimeout(() => made.remove(), TOAST_MS);
}

/** @type {ReturnType<typeof setTimeout> | undefined} */ let announceTimer;

/** @param {string} text */
function announce(text) {
  clearTimeout(announceTimer);
  announceTimer = setTimeout(() => find(".console-announcer").replaceChildren(element("p", "", text)), ANNOUNCE_AFTER_MS);
}

function claim() {
  const { conversation } = room ?? {};
  if (!room || !conversation || conversation.assignee || conversation.kind !== "support" || !may("chat.assign_conversation")) return;
  const claimed = room;
  attempt(async () => {
    await claimed.claim();
    announce(gettext("The conversation is yours."));
  });
}

function resolve() {
  if (!room?.conversation || !may("chat.change_conversation")) return;
  const { status } = room.conversation;
  change({ status: status === "resolved" || status === "closed" ? "open" : "resolved" });
}

/** @param {object} fields */
function change(fields) {
  const changed = room;
  if (changed) attempt(() => changed.update(fields));
}

/** @param {Entry} entry */
function edit({ message, note, text }) {
  if (message) composer.edit(message.message_id, text, false);
  else if (note) composer.edit(note.note_id, text, true);
}

function dialogTexts() {
  return /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("#console-confirm [data-about]"));
}

/** @param {Entry} entry */
function remove({ message, note }) {
  const from = room;
  if (!from || (!message && !note)) return;
  for (const about of dialogTexts()) about.hidden = about.dataset.about !== (note ? "note" : "message");
  const dialog = /** @type {HTMLDialogElement} */ (find("#console-confirm"));
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue === "delete" && message) attempt(() => from.remove(message.message_id));
    else if (dialog.returnValue === "delete" && note) attempt(() => from.removeNote(note.note_id));
    threadView.focus();
  };
  dialog.showModal();
}

// What the agent does

list.listen({ onOpen: open, onShow: showList, onMore: loadMore, onRetry: loadList });
threadView.listen({
  onEarlier: () => room?.loadEarlier(),
  onSeen: () => room?.markRead(),
  onEdit: edit,
  onDelete: remove,
  onUnmask: ({ message }) => {
    const shown = room;
    if (shown && message) attempt(() => shown.unmask(message.message_id));
  },
  onRetry: ({ letter }) => letter && room?.retry(letter.id),
  onDiscard: ({ letter }) => letter && room?.discard(letter.id),
});
composer.listen({
  onSend(text, isNote) {
    threadView.toNewest();
    room?.send(text, isNote);
  },
  async onEdited(id, text, isNote) {
    const edited = room;
    if (!edited) return false;
    const draft = drafts(me.user_id, edited.id);
    return attempt(async () => {
      try {
        await (isNote ? edited.editNote(id, text) : edited.edit(id, text));
      } catch (problem) {
        if (edited !== room && !draft.get()) draft.set(text, isNote); // the field that had it is gone
        throw problem;
      }
    });
  },
  onDraft: ({ text, isNote }) => room && drafts(me.user_id, room.id).set(text, isNote),
  onTyping: (isTyping) => room?.setTyping(isTyping),
  onEditLast() {
    const last = room?.thread.lastEditable;
    if (last) edit(last);
  },
  onLeave: () => threadView.focus(),
});
details.listen({ onChange: change, onClaim: claim, onResolve: resolve });

/** @param {number} step */
function openNeighbour(step) {
  const ids = conversations.sorted.map(({ id }) => id);
  const place = room ? ids.indexOf(room.id) : -1;
  const next = ids[place === -1 && step < 0 ? ids.length - 1 : place + step];
  if (next === undefined) return;
  open(next);
  requestAnimationFrame(() => requestAnimationFrame(() => list.focusRow(next)));
}

/** @param {Filter} filter */
function filterBy(filter) {
  list.press(filter);
  showList(filter, list.searched);
}

/** @param {import("./composer.js").Mode} mode */
function write(mode) {
  if (room && !composer.isHidden && may(mode === "note" ? "chat.add_note" : "chat.reply_conversation")) composer.setMode(mode);
}

function toggleDetails() {
  const details = find("#console-details");
  const isNarrow = matchMedia("(max-width: 1100px)").matches;
  if (isNarrow) showColumn(page.dataset.shows === "details" ? "thread" : "details");
  else page.classList.toggle("console-without-details");
  find(".console-details-button").setAttribute("aria-expanded", String(isShown(details)));
  if (isNarrow && isShown(details)) find(".console-details-close").focus();
}

function back() {
  const { id } = room ?? {};
  if (page.dataset.shows === "details") {
    showColumn("thread");
    find(".console-details-button").focus();
  } else if (id !== undefined) {
    open(null);
    requestAnimationFrame(() => requestAnimationFrame(() => list.focusRow(id)));
  }
}

find(".console-back").addEventListener("click", back);
find(".console-details-button").addEventListener("click", toggleDetails);
find(".console-details-close").addEventListener("click", () => {
  toggleDetails();
  find(".console-details-button").focus();
});
listenForKeys({
  j: () => openNeighbour(1),
  k: () => openNeighbour(-1),
  "/": () => list.focusSearch(),
  1: () => filterBy("mine"),
  2: () => filterBy("unassigned"),
  3: () => filterBy("all"),
  4: () => filterBy("closed"),
  r: () => write("reply"),
  n: () => write("note"),
  c: claim,
  e: resolve,
  d: () => room && toggleDetails(),
  escape: (event) => {
    const isSearching = event.target instanceof HTMLInputElement;
    if (isSearching) /** @type {HTMLElement} */ (event.target).blur();
    else back();
  },
});
addEventListener("popstate", () => open(addressed(), { isFromHistory: true }));
addEventListener("focus", drawRoom); // what came meanwhile is seen now
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  drawRoom();
  loadList();
});

/** The conversation that the page's address names. @returns {number | null} */
function addressed() {
  const id = new URLSearchParams(location.search).get("conversation") ?? "";
  return /^[1-9]\d{0,15}$/.test(id) ? Number(id) : null;
}

drawList();
loadList();
queueFallback.follow("connecting");
const queueSocket = connect({
  url: api.socket("/ws/support/"),
  userId: me.user_id,
  onFrame: onQueueFrame,
  onState: (state, problem) => {
    queue = { state, problem };
    queueFallback.follow(state);
    showQueueState();
  },
});
onLogin(() => [queueSocket, ...rooms.values()].forEach((one) => one.retryNow()));
setInterval(() => document.hidden || loadList(), REFRESH_MS);
api.get("agents/", {}, { isPatient: true }).then(({ results }) => {
  details.showAgents(results);
  drawRoom();
}, () => {}); // then one can only assign oneself
open(addressed(), { isFromHistory: true });
page.dataset.ready = "true";
page.setAttribute("aria-busy", "false");
