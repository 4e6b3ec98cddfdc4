// Opens WebSockets as JSON lines on stdin say, and tells on stdout, in JSON lines, what happens to
// them. Ends with stdin.
import { createInterface } from "node:readline";
import WebSocket from "ws";

const sockets = new Map();

const orders = {
  open({ id, url, protocols, headers }) {
    const tell = (event) => console.log(JSON.stringify({ id, ...event }));
    const socket = new WebSocket(url, protocols, { headers });
    sockets.set(id, socket);
    socket.on("open", () => tell({ protocol: socket.protocol }));
    socket.on("message", (content) => tell({ text: content.toString() }));
    socket.on("close", (code) => tell({ code }));
    socket.on("error", (problem) => tell({ problem: problem.message }));
    socket.on("unexpected-response", (request, response) => {
      tell({ status: response.statusCode });
      request.destroy();
    });
  },
  send({ id, text }) {
    sockets.get(id).send(text);
  },
  close({ id }) {
    sockets.get(id).close();
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  orders[order.do](order);
}
process.exit();
