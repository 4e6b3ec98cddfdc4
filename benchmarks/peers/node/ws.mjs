// The least that a chat on Node needs: `ws` as its documentation broadcasts, with Redis between
// processes.
import { createServer } from "node:http";
import { createClient } from "redis";
import WebSocket, { WebSocketServer } from "ws";

const publisher = createClient({ url: process.env.REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const server = createServer();
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket) => {
  socket.on("error", console.error);
  socket.on("message", (data) => publisher.publish("lobby", JSON.stringify(JSON.parse(data))));
});
await subscriber.subscribe("lobby", (text) => {
  for (const client of sockets.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(text, { binary: false });
  }
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
