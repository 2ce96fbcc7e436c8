import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.cloudevents.CloudEvent;
import io.cloudevents.core.builder.CloudEventBuilder;
import io.cloudevents.http.HttpMessageFactory;
import io.cloudevents.http.impl.HttpMessageWriter;
import io.cloudevents.jackson.JsonFormat;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Publishes events as the SDK writes them, in every mode, and lets the SDK read what comes back: received in a group,
 * browsed, followed, and streamed to the group. Arguments: the base of the API, a topic and a group that exist. Ends
 * with 0 if every event came back with equal attributes and data.
 */
public final class Events {
    private static final String STRUCTURED = JsonFormat.CONTENT_TYPE;
    private static final String BATCH = "application/cloudevents-batch+json";
    /** What an event that is received says of its lease, besides its own attributes. */
    private static final Set<String> LEASE = Set.of("mqleaseid", "mqleaseexpiresat", "mqdeliveryattempt");
    private static final Duration LIMIT = Duration.ofSeconds(60);

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final JsonFormat FORMAT = new JsonFormat();
    private static final HttpClient HTTP = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    public static void main(String[] arguments) throws Exception {
        String base = arguments[0] + "/v1";
        String topic = base + "/topics/" + arguments[1];
        String group = base + "/groups/" + arguments[2];
        String wanted = "?topic=" + arguments[1] + "&tag=*";
        // The group wants the topic before there is anything in it.
        expect(200, send(group + "/messages:receive" + wanted + "&wait=0s", BodyPublishers.noBody(), Map.of()));

        Map<String, CloudEvent> sent = new TreeMap<>();
        for (CloudEvent event : samples("binary")) {
            publish(topic, event, writer -> writer.writeBinary(event));
            sent.put(event.getId(), event);
        }
        for (CloudEvent event : samples("structured")) {
            publish(topic, event, writer -> writer.writeStructured(event, STRUCTURED));
            sent.put(event.getId(), event);
        }
        // The SDK has no batches: a batch is an array of what it writes.
        List<String> batch = new ArrayList<>();
        for (CloudEvent event : samples("batch")) {
            batch.add(new String(FORMAT.serialize(event), StandardCharsets.UTF_8));
            sent.put(event.getId(), event);
        }
        Map<String, String> kind = Map.of("Content-Type", BATCH);
        JsonNode told = JSON.readTree(expect(200, send(topic + "/events", BodyPublishers.ofString(batch.toString()), kind)));
        same("failed entries of the batch", "0", told.get("failed").asText());

        compare("received", sent, received(group + "/messages:receive" + wanted, sent.size()));
        compare("browsed", sent, browsed(topic + "/messages", sent.size()));
        String count = "&format=cloudevent&max_events=" + sent.size();
        compare("followed", sent, streamed(topic + "/stream?from=earliest" + count));
        String other = base + "/groups/" + arguments[2] + "-streamed";
        expect(201, HTTP.send(request(other).PUT(BodyPublishers.noBody()).build(), BodyHandlers.ofByteArray()));
        String subscription = other + "/subscriptions/" + arguments[1];
        expect(201, HTTP.send(request(subscription).PUT(BodyPublishers.noBody()).build(), BodyHandlers.ofByteArray()));
        compare("streamed to a group", sent, streamed(other + "/stream?max_in_flight=1000" + count));
    }

    /**
     * Events with everything that the specification lets them have. Attributes are ASCII: the SDK writes headers without
     * the percent-encoding that others need.
     */
    private static List<CloudEvent> samples(String mode) {
        byte[] bytes = new byte[256];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) i;
        }
        URI shop = URI.create("/shop");
        List<CloudEvent> all = new ArrayList<>();
        all.add(named(mode, "full")
            .withSource(URI.create("https://shop.example/orders?region=hz#17"))
            .withSubject("order 17, \"paid\", 100 %")
            .withTime(OffsetDateTime.parse("2026-11-23T08:00:00.123456Z"))
            .withDataSchema(URI.create("https://schemas.example/order/1"))
            .withData("application/json", "{\"order\":17,\"lines\":[1.5,null,\"ä\"]}".getBytes(StandardCharsets.UTF_8))
            .withExtension("region", "hz")
            .withExtension("count", -7)
            .withExtension("flag", true)
            .withExtension("link", URI.create("https://shop.example/17"))
            .build());
        all.add(named(mode, "text").withSource(shop)
            .withData("text/plain", "Grüße, 世界 🚀\n\tund mehr".getBytes(StandardCharsets.UTF_8)).build());
        all.add(named(mode, "xml").withSource(shop)
            .withData("application/xml; charset=utf-8", "<a b=\"c\"/>".getBytes(StandardCharsets.UTF_8)).build());
        all.add(named(mode, "bytes").withSource(shop).withData("application/octet-stream", bytes).build());
        // One with a dot, as application/vnd.shop+json, the SDK takes for no JSON, against the specification: what is given
        // back as JSON, as that wants it, it does not read.
        all.add(named(mode, "vendor").withSource(shop)
            .withData("application/shop+json", "[1,2]".getBytes(StandardCharsets.UTF_8)).build());
        all.add(named(mode, "nothing").withSource(shop)
            .withTime(OffsetDateTime.parse("2026-11-23T10:00:00+02:00"))
            .withExtension("partitionkey", "customer-7")
            .withExtension("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").build());
        return all;
    }

    private static CloudEventBuilder named(String mode, String name) {
        return CloudEventBuilder.v1().withId(mode + "-" + name).withType("order.paid");
    }

    private interface Writing {
        void write(HttpMessageWriter writer);
    }

    private static void publish(String topic, CloudEvent event, Writing writing) throws Exception {
        Map<String, String> headers = new LinkedHashMap<>();
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        writing.write(HttpMessageFactory.createWriter(headers::put, data -> {
            if (data != null) {
                body.writeBytes(data);
            }
        }));
        expect(201, send(topic + "/events", BodyPublishers.ofByteArray(body.toByteArray()), headers));
    }

    private static List<CloudEvent> received(String target, int count) throws Exception {
        List<CloudEvent> all = new ArrayList<>();
        while (all.size() < count) {
            byte[] some = expect(200, send(target + "&max=32&wait=10s", BodyPublishers.noBody(), Map.of("Accept", BATCH)));
            int before = all.size();
            all.addAll(events(some));
            if (all.size() == before) {
                throw new AssertionError("of " + count + " events came " + before);
            }
        }
        return all;
    }

    private static List<CloudEvent> browsed(String target, int count) throws Exception {
        HttpRequest request = request(target + "?limit=64").header("Accept", BATCH).build();
        List<CloudEvent> all = events(expect(200, HTTP.send(request, BodyHandlers.ofByteArray())));
        same("events on the first page", String.valueOf(count), String.valueOf(all.size()));
        return all;
    }

    private static List<CloudEvent> events(byte[] batch) throws Exception {
        List<CloudEvent> all = new ArrayList<>();
        for (JsonNode one : JSON.readTree(batch)) {
            all.add(event(JSON.writeValueAsBytes(one)));
        }
        return all;
    }

    private static List<CloudEvent> streamed(String target) throws Exception {
        HttpRequest request = request(target).header("Accept", "text/event-stream").build();
        List<CloudEvent> all = new ArrayList<>();
        String stream = new String(expect(200, HTTP.send(request, BodyHandlers.ofByteArray())), StandardCharsets.UTF_8);
        for (String line : stream.split("\n")) {
            if (line.startsWith("data: ")) {
                all.add(event(line.substring(6).getBytes(StandardCharsets.UTF_8)));
            }
        }
        return all;
    }

    private static CloudEvent event(byte[] structured) {
        return HttpMessageFactory.createReader(Map.of("content-type", STRUCTURED), structured).toEvent();
    }

    private static void compare(String how, Map<String, CloudEvent> sent, List<CloudEvent> got) throws Exception {
        same(how, String.valueOf(sent.size()), String.valueOf(got.size()));
        Map<String, CloudEvent> byId = new TreeMap<>();
        got.forEach(event -> byId.put(event.getId(), event));
        same(how, String.valueOf(sent.keySet()), String.valueOf(byId.keySet()));
        for (CloudEvent event : sent.values()) {
            CloudEvent back = byId.get(event.getId());
            String which = event.getId() + ", " + how;
            same(which, attributes(event), attributes(back));
            same("the data of " + which, data(event), data(back));
        }
        System.out.println(how + ": " + got.size() + " events");
    }

    /** Attributes as text: HTTP's headers know no other kind. */
    private static String attributes(CloudEvent event) {
        Map<String, String> all = new TreeMap<>();
        for (String name : event.getAttributeNames()) {
            if (event.getAttribute(name) != null) {
                all.put(name, event.getAttribute(name).toString());
            }
        }
        for (String name : event.getExtensionNames()) {
            if (!LEASE.contains(name)) {
                all.put(name, event.getExtension(name).toString());
            }
        }
        return all.toString();
    }

    private static String data(CloudEvent event) throws Exception {
        if (event.getData() == null) {
            return "none";
        }
        byte[] bytes = event.getData().toBytes();
        String kind = event.getDataContentType();
        return kind.endsWith("json") ? JSON.readTree(bytes).toString() : Arrays.toString(bytes);
    }

    private static HttpRequest.Builder request(String target) {
        return HttpRequest.newBuilder(URI.create(target)).timeout(LIMIT);
    }

    private static HttpResponse<byte[]> send(String target, HttpRequest.BodyPublisher body, Map<String, String> headers)
        throws Exception {
        HttpRequest.Builder request = request(target).POST(body);
        headers.forEach(request::header);
        return HTTP.send(request.build(), BodyHandlers.ofByteArray());
    }

    private static byte[] expect(int status, HttpResponse<byte[]> answer) {
        String text = new String(answer.body(), StandardCharsets.UTF_8);
        same(answer.request() + " " + answer.request().headers().map() + " was answered " + text,
            String.valueOf(status), String.valueOf(answer.statusCode()));
        return answer.body();
    }

    private static void same(String what, String wanted, String found) {
        if (!wanted.equals(found)) {
            throw new AssertionError(what + "\nwanted: " + wanted + "\nfound:  " + found);
        }
    }
}
