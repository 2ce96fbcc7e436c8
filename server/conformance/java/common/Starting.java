import java.text.SimpleDateFormat;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Where consumers begin: new groups, broadcasting members, and groups that are told to begin elsewhere. */
final class Starting {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("from-where", Starting::fromWhere);
        scenarios.put("broadcast-offsets", Starting::broadcastOffsets);
        scenarios.put("reset-by-client", Starting::resetByClient);
    }

    /**
     * Three new groups of a topic whose first messages are no longer hot: at the first message, behind the last, and at
     * the first one of a second. Needs a broker on which no message is hot (accessMessageInMemoryMaxRatio=0).
     */
    private static void fromWhere(Run run) throws Exception {
        String topic = run.create("Where", 1);
        DefaultMQProducer producer = run.producer();
        run.sent(producer.send(new Message(topic, run.body("a"))));
        run.sent(producer.send(new Message(topic, run.body("b"))));
        long second = System.currentTimeMillis() / 1000 + 1;
        run.await("the next second", 2, () -> System.currentTimeMillis() / 1000 >= second);
        run.sent(producer.send(new Message(topic, run.body("c"))));
        Map<ConsumeFromWhere, Inbox> inboxes = new HashMap<>();
        for (ConsumeFromWhere where : Arrays.asList(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET,
            ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP)) {
            DefaultMQPushConsumer consumer = run.newPush(where.name());
            consumer.setConsumeFromWhere(where);
            consumer.setConsumeTimestamp(new SimpleDateFormat("yyyyMMddHHmmss").format(new Date(second * 1000)));
            consumer.subscribe(topic, "*");
            Inbox inbox = new Inbox(run);
            consumer.registerMessageListener(inbox.concurrently());
            consumer.start();
            inboxes.put(where, inbox);
            // A queue is held once its first offset is known: what comes now is behind it.
            run.await("the queue of " + where, 30, () -> !Consuming.held(consumer, topic).isEmpty());
        }
        run.sent(producer.send(new Message(topic, run.body("d"))));
        inboxes.get(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET).expect(texts("a", "b", "c", "d"), 20);
        inboxes.get(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET).expect(texts("d"), 20);
        inboxes.get(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP).expect(texts("c", "d"), 20);
    }

    /** A broadcasting member keeps its offsets itself: it goes on where it left, and the broker knows nothing of it. */
    private static void broadcastOffsets(Run run) throws Exception {
        String topic = run.create("Kept", 1);
        DefaultMQProducer producer = run.producer();
        long consumed = 0;
        for (String text : Arrays.asList("first", "second")) {
            Inbox inbox = new Inbox(run);
            DefaultMQPushConsumer consumer = run.newPush("keeping");
            consumer.setInstanceName(run.mark + "keeping"); // the name of its file
            Dialect.broadcasting(consumer);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(inbox.concurrently());
            consumer.start();
            run.sent(producer.send(new Message(topic, run.body(text))));
            inbox.expect(texts(text), 20);
            // A listener is called before its messages count as consumed: a member that ends in between gets them again.
            long next = ++consumed;
            MessageQueue queue = Consuming.held(consumer, topic).iterator().next();
            run.await("the offset " + next, 20, () -> Returning.kept(consumer, queue) == next);
            consumer.shutdown(); // which writes the file
        }
        Inbox fresh = new Inbox(run);
        DefaultMQPushConsumer other = run.newPush("keeping");
        other.setInstanceName(run.mark + "other");
        Dialect.broadcasting(other);
        other.subscribe(topic, "*");
        other.registerMessageListener(fresh.concurrently());
        other.start();
        fresh.expect(texts("first", "second"), 20);
        other.shutdown();
        DefaultMQPullConsumer asking = run.pull("keeping");
        MessageQueue queue = asking.fetchSubscribeMessageQueues(topic).iterator().next();
        long known = asking.fetchConsumeOffset(queue, true);
        // 0 where the queue is young enough for a new group to begin at its start.
        run.check(known <= 0, "the broker knows an offset of a broadcasting group: " + known);
    }

    /** Resets that the consumers carry out themselves (useServerSideResetOffset=false): 220, to a client that runs. */
    private static void resetByClient(Run run) throws Exception {
        String topic = run.create("Told", 1);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("told");
        consumer.setPersistConsumerOffsetInterval(200);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        for (String text : Arrays.asList("a", "b", "c")) {
            run.sent(producer.send(new Message(topic, run.body(text))));
        }
        inbox.expect(texts("a", "b", "c"), 20);
        MessageQueue queue = Consuming.held(consumer, topic).iterator().next();
        run.await("the offset to be committed", 30, () -> Returning.committed(consumer, queue) == 3);
        DefaultMQAdminExt admin = Returning.admin(run);
        Map<MessageQueue, Long> targets = admin.resetOffsetByTimestamp(topic, run.group("told"), 0, true);
        run.equal(Collections.singletonMap(queue, 0L), targets, "targets of the reset");
        // The client waits for ten seconds before it goes there.
        Set<String> again = new TreeSet<>();
        inbox.take(6, 40).stream().skip(3).map(Inbox::text).forEach(again::add);
        run.equal(texts("a", "b", "c"), again, "what came after the reset");
        consumer.shutdown();
        Throwable absent = run.refused("a reset of a group that is away", () ->
            admin.resetOffsetByTimestamp(topic, run.group("told"), 0, true));
        run.check(String.valueOf(absent.getMessage()).contains("206"), "why: " + absent);
    }

    private static TreeSet<String> texts(String... texts) {
        return new TreeSet<>(Arrays.asList(texts));
    }
}
