import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Callable;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** One run of a scenario: its settings, its clients (closed at the end), and the words it checks with. */
final class Run {
    /** Marks everything of this run, so that runs share a server and even a topic. */
    final String mark;
    private final String id;
    private final Map<String, String> settings;
    private final List<Runnable> closers = Collections.synchronizedList(new ArrayList<>());

    Run(String id, Map<String, String> settings) {
        this.id = id;
        this.settings = settings;
        this.mark = setting("client", "java") + "_" + id + "_" + Long.toString(System.nanoTime() & 0xffffffL, 36);
    }

    String setting(String key, String otherwise) {
        return settings.getOrDefault(key, otherwise);
    }

    String namesrv() {
        return setting("ns", System.getenv("NAMESRV_ADDR"));
    }

    /** Whether the server under test is Apache's own. */
    boolean apache() {
        return setting("target", "").equals("apache");
    }

    String topic(String name) {
        return name + "_" + mark;
    }

    String group(String name) {
        return name + "_" + mark;
    }

    void atEnd(Runnable closer) {
        closers.add(closer);
    }

    void close() {
        List<Runnable> all = new ArrayList<>(closers);
        Collections.reverse(all);
        for (Runnable closer : all) {
            try {
                closer.run();
            } catch (Throwable e) {
                emit("close", "error", trace(e));
            }
        }
    }

    // --- clients

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = newProducer("P");
        producer.start();
        return producer;
    }

    DefaultMQProducer newProducer(String group) {
        DefaultMQProducer producer = new DefaultMQProducer(group(group));
        producer.setNamesrvAddr(namesrv());
        producer.setPollNameServerInterval(1000);
        producer.setSendMsgTimeout(10_000);
        atEnd(producer::shutdown);
        return producer;
    }

    DefaultMQPushConsumer newPush(String group) {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group(group));
        consumer.setNamesrvAddr(namesrv());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        consumer.setConsumeThreadMin(4);
        consumer.setConsumeThreadMax(4);
        atEnd(consumer::shutdown);
        return consumer;
    }

    DefaultMQPullConsumer pull(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group(group));
        consumer.setNamesrvAddr(namesrv());
        atEnd(consumer::shutdown);
        consumer.start();
        return consumer;
    }

    DefaultLitePullConsumer newLite(String group) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group(group));
        consumer.setNamesrvAddr(namesrv());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPollNameServerInterval(1000);
        atEnd(consumer::shutdown);
        return consumer;
    }

    /** A started push consumer of a group of its own that puts everything of this run into an inbox. */
    Inbox collect(String topic, String expression) throws Exception {
        Inbox inbox = new Inbox(this);
        DefaultMQPushConsumer consumer = newPush("C_" + Long.toString(System.nanoTime(), 36));
        consumer.subscribe(topic, expression);
        consumer.registerMessageListener(inbox.concurrently());
        routed(topic);
        consumer.start();
        return inbox;
    }

    /** Creates a topic and waits until its route is known. */
    String create(String name, int queues) throws Exception {
        String topic = topic(name);
        Dialect.createTopic(producer(), topic, queues);
        routed(topic);
        return topic;
    }

    /** Waits until the name server knows the topic: Apache's broker tells it a moment after the first send. */
    List<MessageQueue> routed(String topic) throws Exception {
        DefaultMQProducer asking = newProducer("R_" + Long.toString(System.nanoTime(), 36));
        asking.start();
        List<MessageQueue> queues = await("the route of " + topic, 10, () -> {
            try {
                return asking.fetchPublishMessageQueues(topic);
            } catch (Exception e) {
                return null;
            }
        });
        asking.shutdown();
        return queues;
    }

    SendResult sent(SendResult result) {
        equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
        return result;
    }

    Message message(String topic, String tag, String keys, String text) {
        return new Message(topic, tag, keys, body(text));
    }

    /** Bodies carry the mark: an inbox takes only its own run's. */
    byte[] body(String text) {
        return (mark + "|" + text).getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    // --- checks

    void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    void equal(Object expected, Object actual, String what) {
        if (!Objects.equals(expected, actual)) {
            throw new AssertionError(what + ": expected " + shortened(expected) + " but was " + shortened(actual));
        }
    }

    void sameSet(Set<?> expected, Set<?> actual, String what) {
        equal(new java.util.TreeSet<>(strings(expected)), new java.util.TreeSet<>(strings(actual)), what);
    }

    <T> T await(String what, int limit, Callable<T> ready) throws Exception {
        int seconds = patience(limit);
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (true) {
            T value = ready.call();
            if (value != null && !Boolean.FALSE.equals(value)) {
                return value;
            }
            if (System.nanoTime() > end) {
                throw new AssertionError("waited " + seconds + " s for " + what);
            }
            Thread.sleep(20);
        }
    }

    interface Attempt {
        Object make() throws Exception;
    }

    /** What the attempt threw; an attempt that succeeds is a failure of the scenario. */
    Throwable refused(String what, Attempt attempt) {
        Object result;
        try {
            result = attempt.make();
        } catch (Throwable e) {
            return e;
        }
        throw new AssertionError(what + " was not refused: " + result);
    }

    /**
     * The 5.x client raises its subscription's version when it gets its queues, and says so in a heartbeat, unless
     * another heartbeat is just under way: then its pulls are answered 25 until the next one, 30 s later. Rare, and
     * the same with any broker.
     */
    int patience(int seconds) {
        return seconds + 60;
    }

    void emit(String event, Object... fields) {
        StringBuilder line = new StringBuilder("{\"run\":").append(id).append(",\"event\":").append(quoted(event));
        for (int i = 0; i < fields.length; i += 2) {
            Object value = fields[i + 1];
            line.append(',').append(quoted(fields[i].toString())).append(':');
            line.append(value instanceof Number || value instanceof Boolean ? value.toString() : quoted(String.valueOf(value)));
        }
        Runner.say(line.append('}').toString());
    }

    static String trace(Throwable e) {
        StringWriter text = new StringWriter();
        e.printStackTrace(new PrintWriter(text, true));
        return text.toString();
    }

    private static Set<String> strings(Set<?> values) {
        Set<String> strings = new java.util.TreeSet<>();
        values.forEach(value -> strings.add(String.valueOf(value)));
        return strings;
    }

    private static String shortened(Object value) {
        String text = String.valueOf(value);
        return text.length() > 2000 ? text.substring(0, 2000) + "…" : text;
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || Character.isSurrogate(c)) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
