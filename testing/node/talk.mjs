// A conversation from Node: talk.mjs MODULE URL TOKEN TEXT... sends each text, prints the acks as JSON lines, closes,
// and then has nothing left to wait for.
import WebSocket from "ws";

globalThis.WebSocket ??= WebSocket; // Node < 22 has none of its own

const [module, url, token, ...texts] = process.argv.slice(2);
const { connect } = await import(module);
const socket = connect({ url, token: () => token });
for (const ack of await Promise.all(texts.map((text) => socket.sendMessage(text)))) console.log(JSON.stringify(ack));
socket.close();
