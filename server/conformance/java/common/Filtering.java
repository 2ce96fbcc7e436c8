import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers that choose by SQL92 over the messages' properties: section 4.5 of the tutorial, and what it leaves out. */
final class Filtering {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("sql-filter", Filtering::sample);
        scenarios.put("sql-language", Filtering::language);
        scenarios.put("sql-bad", Filtering::bad);
        scenarios.put("sql-with-each-pull", Filtering::withEachPull);
        scenarios.put("sql-pull", Filtering::pull);
    }

    private static void send(Run run, DefaultMQProducer producer, String topic, int from, int to) throws Exception {
        for (int i = from; i < to; i++) {
            Message message = run.message(topic, i % 2 == 0 ? "TagA" : "TagB", "", "Hello RocketMQ " + i);
            message.putUserProperty("a", String.valueOf(i));
            run.sent(producer.send(message));
        }
    }

    private static Set<String> texts(int... numbers) {
        Set<String> texts = new TreeSet<>();
        for (int number : numbers) {
            texts.add("Hello RocketMQ " + number);
        }
        return texts;
    }

    private static Inbox consume(Run run, String topic, String expression) throws Exception {
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("sql_" + Long.toString(System.nanoTime(), 36));
        consumer.subscribe(topic, MessageSelector.bySql(expression));
        consumer.registerMessageListener(inbox.concurrently());
        run.routed(topic);
        consumer.start();
        return inbox;
    }

    /** The tutorial's producer and consumer; some messages are there before, some come while pulls are held. */
    private static void sample(Run run) throws Exception {
        String topic = run.create("SqlSample", 4);
        DefaultMQProducer producer = run.producer();
        send(run, producer, topic, 0, 2);
        Inbox inbox = consume(run, topic, "a between 0 and 3");
        inbox.expect(texts(0, 1), 20);
        send(run, producer, topic, 2, 10);
        inbox.expect(texts(0, 1, 2, 3), 20);
    }

    /** Each kind of term once, beside the others' consumers. */
    private static void language(Run run) throws Exception {
        String topic = run.create("SqlLanguage", 2);
        DefaultMQProducer producer = run.producer();
        send(run, producer, topic, 0, 6);
        Message without = new Message(topic, run.body("without"));
        without.putUserProperty("colour", "it's green");
        run.sent(producer.send(without));
        Inbox tag = consume(run, topic, "TAGS IS NOT NULL AND (TAGS = 'TagA' OR a >= 5)");
        Inbox in = consume(run, topic, "a IN ('1', '4') OR NOT (a < 5.5)");
        Inbox missing = consume(run, topic, "a IS NULL AND colour = 'it''s green'");
        Inbox other = consume(run, topic, "TAGS <> 'TagA' AND a NOT BETWEEN 2 AND 4");
        tag.expect(texts(0, 2, 4, 5), 20);
        in.expect(texts(1, 4), 20);
        missing.expect(Collections.singleton("without"), 20);
        other.expect(texts(1, 5), 20);
    }

    /** A consumer with an expression that is none does not start, and says what is wrong with it. */
    private static void bad(Run run) throws Exception {
        String topic = run.create("SqlBad", 1);
        DefaultMQPushConsumer consumer = run.newPush("sqlbad");
        consumer.subscribe(topic, MessageSelector.bySql(run.apache() ? "a >= AND (" : "a LIKE 'x%'"));
        consumer.registerMessageListener(new Inbox(run).concurrently());
        Throwable refusal = run.refused("a broken expression", () -> {
            consumer.start();
            return "started";
        });
        run.equal(23, Refusing.code(refusal), "code of " + Refusing.said(refusal));
        String said = Refusing.said(refusal);
        run.check(run.apache() || said.contains("at character 3") && said.contains("STARTSWITH"), said);
    }

    /** The expression travels with each pull instead of with the heartbeat alone. */
    private static void withEachPull(Run run) throws Exception {
        String topic = run.create("SqlPost", 2);
        DefaultMQProducer producer = run.producer();
        DefaultMQPushConsumer consumer = run.newPush("sqlpost");
        consumer.setPostSubscriptionWhenPull(true);
        consumer.subscribe(topic, MessageSelector.bySql("a > 1 AND a <= 3"));
        Inbox inbox = new Inbox(run);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        send(run, producer, topic, 0, 6);
        inbox.expect(texts(2, 3), 20);
    }

    /** A pull consumer brings an expression with each pull; a broken one is refused, not left out. */
    private static void pull(Run run) throws Exception {
        String topic = run.create("SqlPull", 1);
        send(run, run.producer(), topic, 0, 10);
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(run.group("sqlpull"));
        consumer.setNamesrvAddr(run.namesrv());
        consumer.setHeartbeatBrokerInterval(500);
        run.atEnd(consumer::shutdown);
        consumer.start();
        MessageQueue queue = run.routed(topic).get(0);
        // The client asks no broker whose version it has not learnt from a heartbeat's answer.
        PullResult result = run.await("a heartbeat of the pull consumer", 20, () -> {
            try {
                return consumer.pull(queue, MessageSelector.bySql("a >= 8"), 0, 32);
            } catch (MQClientException e) {
                run.check(e.getMessage().contains("does not upgrade"), e.toString());
                return null;
            }
        });
        run.equal(PullStatus.FOUND, result.getPullStatus(), "status");
        Set<String> got = new TreeSet<>();
        result.getMsgFoundList().forEach(message -> got.add(Inbox.text(message)));
        run.equal(texts(8, 9), got, "texts");
        run.equal(10L, result.getNextBeginOffset(), "next offset");
        PullResult none = consumer.pull(queue, MessageSelector.bySql("a > 20"), 0, 32);
        run.check(Arrays.asList(PullStatus.NO_MATCHED_MSG, PullStatus.NO_NEW_MSG).contains(none.getPullStatus()), none.toString());
        if (run.apache()) {
            return; // It hands out every message.
        }
        Throwable refusal = run.refused("a broken expression", () -> consumer.pull(queue, MessageSelector.bySql("a >= AND ("), 0, 32));
        run.equal(23, Refusing.code(refusal), "code of " + Refusing.said(refusal));
    }
}
