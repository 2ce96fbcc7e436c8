import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.QueryResult;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The questions of the client's MQAdmin interface. */
final class Asking {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("view-message", Asking::viewMessage);
        scenarios.put("query-message", Asking::queryMessage);
        scenarios.put("offsets", Asking::offsets);
        scenarios.put("create-topic", Asking::createTopic);
    }

    private static void viewMessage(Run run) throws Exception {
        String topic = run.create("View", 1);
        DefaultMQProducer producer = run.producer();
        SendResult sent = run.sent(producer.send(run.message(topic, "TagV", "keyV", "viewed")));
        MessageExt byOffset = Dialect.view(producer, topic, sent.getOffsetMsgId());
        run.equal("viewed", Inbox.text(byOffset), "by offset id");
        run.equal(topic, byOffset.getTopic(), "topic");
        run.equal("keyV", byOffset.getKeys(), "keys");
        run.equal(sent.getQueueOffset(), byOffset.getQueueOffset(), "queue offset");
        MessageExt byUnique = run.await("the unique key index", 10, () -> {
            try {
                return producer.viewMessage(topic, sent.getMsgId());
            } catch (Exception notYet) {
                return null;
            }
        });
        run.equal("viewed", Inbox.text(byUnique), "by unique id");
        run.equal(byOffset.getCommitLogOffset(), byUnique.getCommitLogOffset(), "the same record");
        run.refused("an id of nothing", () -> producer.viewMessage(topic, "7F000001000051AF0000000FFFFFFFFF"));
    }

    private static void queryMessage(Run run) throws Exception {
        String topic = run.create("Query", 2);
        DefaultMQProducer producer = run.producer();
        long begin = System.currentTimeMillis() - 5_000;
        for (int i = 0; i < 6; i++) {
            run.sent(producer.send(run.message(topic, "T", "order" + i % 2 + " all", "q" + i)));
        }
        run.sent(producer.send(run.message(topic, "T", "Order0", "other case")));
        long end = System.currentTimeMillis() + 60_000;
        List<MessageExt> even = run.await("three messages of order0", 10, () -> {
            List<MessageExt> found = query(producer, topic, "order0", 32, begin, end);
            return found.size() >= 3 ? found : null;
        });
        run.sameSet(new TreeSet<>(java.util.Arrays.asList("q0", "q2", "q4")), texts(even), "messages of order0");
        run.await("all six", 10, () -> query(producer, topic, "all", 32, begin, end).size() == 6);
        run.equal(2, query(producer, topic, "all", 2, begin, end).size(), "at most two");
        run.refused("a key of nothing", () -> producer.queryMessage(topic, "none", 32, begin, end));
        run.refused("another time", () -> producer.queryMessage(topic, "all", 32, 1000, 2000));
    }

    private static List<MessageExt> query(DefaultMQProducer producer, String topic, String key, int max, long begin, long end)
        throws Exception {
        try {
            QueryResult result = producer.queryMessage(topic, key, max, begin, end);
            return result.getMessageList();
        } catch (org.apache.rocketmq.client.exception.MQClientException none) {
            return java.util.Collections.emptyList();
        }
    }

    private static TreeSet<String> texts(List<MessageExt> messages) {
        return messages.stream().map(Inbox::text).collect(Collectors.toCollection(TreeSet::new));
    }

    private static void offsets(Run run) throws Exception {
        String topic = run.create("Offsets", 2);
        DefaultMQProducer producer = run.producer();
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        MessageQueue full = queues.get(0);
        MessageQueue empty = queues.get(1);
        long before = System.currentTimeMillis();
        long third = 0;
        for (int i = 0; i < 5; i++) {
            SendResult sent = run.sent(producer.send(new Message(topic, run.body("o" + i)), full));
            if (i == 2) {
                third = Dialect.view(producer, topic, sent.getOffsetMsgId()).getStoreTimestamp();
            }
            long shown = System.currentTimeMillis();
            run.await("the clock to move on", 5, () -> System.currentTimeMillis() > shown + 5);
        }
        DefaultMQPullConsumer asking = run.pull("asking");
        run.equal(0L, asking.minOffset(full), "min offset");
        run.equal(5L, asking.maxOffset(full), "max offset");
        run.equal(0L, asking.maxOffset(empty), "max offset of an empty queue");
        run.equal(2L, asking.searchOffset(full, third), "offset of the third message's time");
        run.equal(0L, asking.searchOffset(full, before - 3_600_000), "offset of an hour ago");
        run.equal(5L, asking.searchOffset(full, System.currentTimeMillis() + 3_600_000), "offset of the future");
        long earliest = asking.earliestMsgStoreTime(full);
        run.check(earliest >= before - 1000 && earliest <= third, "earliest time " + earliest);
        run.equal(-1L, asking.earliestMsgStoreTime(empty), "earliest time of an empty queue");
    }

    private static void createTopic(Run run) throws Exception {
        DefaultMQProducer producer = run.producer();
        String topic = run.topic("Created");
        Dialect.createTopic(producer, topic, 3);
        List<MessageQueue> queues = run.routed(topic);
        run.equal(3, queues.size(), "queues");
        run.equal(topic, queues.get(0).getTopic(), "topic");
        run.equal("broker-a", queues.get(0).getBrokerName(), "broker");
        run.refused("a topic with an illegal name", () -> {
            Dialect.createTopic(producer, "bad.name", 1);
            return "created";
        });
    }
}
