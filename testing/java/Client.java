// Opens WebSockets with the JDK's own client as lines on stdin say, and tells on stdout, in lines,
// what happens to them. The parts of a line are separated by tabs; frames are handed through as
// they are. Ends with stdin.
//
//   open <id> <url> <subprotocol,...> <header> <value> ...    send <id> <text>    close <id>
//
//   <id> open <subprotocol>    <id> text <text>    <id> code <code>
//   <id> status <HTTP status>    <id> problem <what>
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;

public class Client {
    static final HttpClient HTTP = HttpClient.newHttpClient();
    static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    static final Map<String, WebSocket> SOCKETS = new ConcurrentHashMap<>();

    public static void main(String[] none) throws Exception {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] part = line.split("\t", -1);
            switch (part[0]) {
                case "open" -> open(part);
                // An order waits for the one before it: this client allows one send at a time.
                case "send" -> SOCKETS.get(part[1]).sendText(part[2], true).join();
                case "close" -> SOCKETS.get(part[1]).sendClose(WebSocket.NORMAL_CLOSURE, "").join();
                default -> throw new IllegalArgumentException(part[0]);
            }
        }
        System.exit(0);
    }

    static void open(String[] part) {
        String id = part[1];
        var builder = HTTP.newWebSocketBuilder();
        if (!part[3].isEmpty()) {
            String[] protocols = part[3].split(",");
            builder.subprotocols(protocols[0], Arrays.copyOfRange(protocols, 1, protocols.length));
        }
        for (int at = 4; at < part.length; at += 2) builder.header(part[at], part[at + 1]);
        builder.buildAsync(URI.create(part[2]), new Listener(id))
            .exceptionally(problem -> {
                refused(id, problem.getCause() == null ? problem : problem.getCause());
                return null;
            });
    }

    static void refused(String id, Throwable problem) {
        if (problem instanceof WebSocketHandshakeException refusal) {
            tell(id, "status", String.valueOf(refusal.getResponse().statusCode()));
        } else {
            tell(id, "problem", problem.toString());
        }
    }

    static void tell(String id, String what, String value) {
        synchronized (OUT) {
            OUT.println(id + "\t" + what + "\t" + value);
        }
    }

    static class Listener implements WebSocket.Listener {
        final String id;
        final StringBuilder text = new StringBuilder();

        Listener(String id) {
            this.id = id;
        }

        @Override
        public void onOpen(WebSocket socket) {
            SOCKETS.put(id, socket);
            tell(id, "open", socket.getSubprotocol());
            socket.request(1);
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
            text.append(part);
            if (last) {
                tell(id, "text", text.toString());
                text.setLength(0);
            }
            socket.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket socket, int code, String reason) {
            tell(id, "code", String.valueOf(code));
            return null; // at which the client answers the close
        }

        @Override
        public void onError(WebSocket socket, Throwable problem) {
            tell(id, "problem", problem.toString());
        }
    }
}
