// Socket.IO as its documentation shows it with the Redis adapter: who connects joins the room, and
// what one sends goes to all of it. WebSocket only, as the benchmark's clients are.
import { createServer } from "node:http";
import { createAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Server } from "socket.io";

const publisher = createClient({ url: process.env.REDIS_URL });
const subscriber = publisher.duplicate();
await Promise.all([publisher.connect(), subscriber.connect()]);

const server = createServer();
const io = new Server(server, {
  adapter: createAdapter(publisher, subscriber),
  transports: ["websocket"],
});
io.on("connection", (socket) => {
  socket.join("lobby");
  socket.on("chat_message", (content) => io.to("lobby").emit("chat_message", content));
});
server.listen({ port: Number(process.argv[2]), host: "127.0.0.1", backlog: 4096 });
