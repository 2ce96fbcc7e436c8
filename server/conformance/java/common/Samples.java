import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageId;

/**
 * The tutorial's samples, one scenario each: same topics, same client calls with their defaults, our own words.
 * Only the group names carry the run's mark, and messages of other runs in the same topic are looked over.
 */
final class Samples {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("quickstart", Samples::quickstart);
        scenarios.put("sync-send", Samples::syncSend);
        scenarios.put("async-send", Samples::asyncSend);
        scenarios.put("oneway-send", Samples::onewaySend);
        scenarios.put("load-balancing", Samples::loadBalancing);
        scenarios.put("broadcasting", Samples::broadcasting);
        scenarios.put("ordered", Samples::ordered);
        scenarios.put("batch", Samples::batch);
        scenarios.put("batch-splitting", Samples::batchSplitting);
    }

    /** Section 2.4: a producer and a consumer that find the name server through NAMESRV_ADDR. */
    private static void quickstart(Run run) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(run.group("quickstart_producer"));
        run.atEnd(producer::shutdown);
        producer.start();
        Set<String> texts = new TreeSet<>();
        Map<Integer, Long> lastOffset = new HashMap<>();
        for (int i = 0; i < 1000; i++) {
            SendResult result = run.sent(producer.send(new Message("TopicTest", "TagA", run.body("Hello RocketMQ " + i))));
            MessageId id = MessageDecoder.decodeMessageId(result.getOffsetMsgId());
            // 32 digits where the client has an IPv4 address, 56 where it has only IPv6.
            run.check(id.getOffset() >= 0 && result.getMsgId().matches("[0-9A-F]{32}|[0-9A-F]{56}"), "ids of " + result);
            int queue = result.getMessageQueue().getQueueId();
            Long before = lastOffset.put(queue, result.getQueueOffset());
            run.check(before == null || before < result.getQueueOffset(), "offsets of queue " + queue + " do not grow");
            texts.add("Hello RocketMQ " + i);
        }
        run.routed("TopicTest");
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(run.group("quickstart_consumer"));
        run.atEnd(consumer::shutdown);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe("TopicTest", "*");
        Inbox inbox = new Inbox(run);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        for (MessageExt message : inbox.expect(texts, 30).values()) {
            run.equal("TagA", message.getTags(), "tags");
            run.equal("TopicTest", message.getTopic(), "topic");
            run.equal("DefaultCluster", message.getProperty("CLUSTER"), "cluster");
        }
    }

    private static DefaultMQProducer start(Run run) throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer(run.group("please_rename_unique_group_name"));
        run.atEnd(producer::shutdown);
        producer.setNamesrvAddr(run.namesrv());
        producer.start();
        return producer;
    }

    /** Section 4.1.1, 1. */
    private static void syncSend(Run run) throws Exception {
        DefaultMQProducer producer = start(run);
        Set<String> texts = new TreeSet<>();
        for (int i = 0; i < 100; i++) {
            SendResult result = run.sent(producer.send(new Message("TopicTest", "TagA", run.body("sync " + i))));
            run.equal("TopicTest", result.getMessageQueue().getTopic(), "topic of the answer");
            texts.add("sync " + i);
        }
        run.collect("TopicTest", "TagA").expect(texts, 20);
    }

    /** Section 4.1.1, 2; unlike the tutorial's it waits for the answers before it closes the producer. */
    private static void asyncSend(Run run) throws Exception {
        DefaultMQProducer producer = start(run);
        producer.setRetryTimesWhenSendAsyncFailed(0);
        CountDownLatch answered = new CountDownLatch(100);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Set<String> ids = ConcurrentHashMap.newKeySet();
        Set<String> texts = new TreeSet<>();
        for (int i = 0; i < 100; i++) {
            texts.add("async " + i);
            producer.send(new Message("TopicTest", "TagA", "OrderID188", run.body("async " + i)), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    ids.add(result.getMsgId());
                    answered.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failure.set(e);
                    answered.countDown();
                }
            });
        }
        run.check(answered.await(60, TimeUnit.SECONDS), "answers missing: " + answered.getCount());
        if (run.apache() && failure.get() != null && Refusing.code(failure.get()) == 2) {
            return; // a cold Apache broker refuses a burst as "busy"; ours may not
        }
        run.equal(null, failure.get(), "a callback's exception");
        run.equal(100, ids.size(), "distinct message ids");
        for (MessageExt message : run.collect("TopicTest", "*").expect(texts, 20).values()) {
            run.equal("OrderID188", message.getKeys(), "keys");
        }
    }

    /** Section 4.1.1, 3. */
    private static void onewaySend(Run run) throws Exception {
        DefaultMQProducer producer = start(run);
        run.sent(producer.send(new Message("TopicTest", "TagA", run.body("opens the connection"))));
        Set<String> texts = new TreeSet<>();
        texts.add("opens the connection");
        for (int i = 0; i < 100; i++) {
            producer.sendOneway(new Message("TopicTest", "TagA", run.body("oneway " + i)));
            texts.add("oneway " + i);
        }
        run.collect("TopicTest", "*").expect(texts, 20);
    }

    /** Section 4.1.2, 1: the members of a group share the queues, and every message is read once. */
    private static void loadBalancing(Run run) throws Exception {
        DefaultMQProducer producer = start(run);
        Set<String> texts = new TreeSet<>();
        // Makes the topic. Not marked: who reads it first may lose its queue before committing it.
        run.sent(producer.send(new Message("Test", new byte[] {1})));
        run.routed("Test");
        Inbox both = new Inbox(run);
        Map<String, Integer> counts = new ConcurrentHashMap<>();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (String name : Arrays.asList("one", "two")) {
            DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(run.group("group1"));
            run.atEnd(consumer::shutdown);
            consumer.setNamesrvAddr(run.namesrv());
            consumer.setInstanceName(run.mark + name);
            consumer.subscribe("Test", "*");
            Dialect.clustering(consumer);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                both.add(messages);
                counts.merge(name, messages.size(), Integer::sum);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.start();
            members.add(consumer);
        }
        Consuming.shared(run, "Test", members, producer.fetchPublishMessageQueues("Test").size());
        for (int i = 0; i < 40; i++) {
            run.sent(producer.send(new Message("Test", run.body("shared " + i))));
            texts.add("shared " + i);
        }
        both.expect(texts, 20);
        run.equal(2, counts.size(), "members that read something: " + counts);
    }

    /** Section 4.1.2, 2: every member reads every message. */
    private static void broadcasting(Run run) throws Exception {
        DefaultMQProducer producer = start(run);
        run.sent(producer.send(new Message("Test", new byte[] {1})));
        int queues = run.routed("Test").size();
        List<Inbox> inboxes = new ArrayList<>();
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (String name : Arrays.asList("one", "two")) {
            DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(run.group("group1"));
            run.atEnd(consumer::shutdown);
            consumer.setNamesrvAddr(run.namesrv());
            consumer.setInstanceName(run.mark + name);
            consumer.subscribe("Test", "*");
            Dialect.broadcasting(consumer);
            Inbox inbox = new Inbox(run);
            inboxes.add(inbox);
            consumer.registerMessageListener(inbox.concurrently());
            consumer.start();
            members.add(consumer);
        }
        run.await("both members to hold all queues", 60, () ->
            members.stream().allMatch(member -> Consuming.held(member, "Test").size() == queues));
        Set<String> texts = new TreeSet<>();
        for (int i = 0; i < 10; i++) {
            run.sent(producer.send(new Message("Test", run.body("to all " + i))));
            texts.add("to all " + i);
        }
        for (Inbox inbox : inboxes) {
            inbox.expect(texts, 20);
        }
    }

    /** Section 4.2: the steps of an order go to one queue, and are read in their order by one thread at a time. */
    private static void ordered(Run run) throws Exception {
        long[] orders = {15103111039L, 15103111065L, 15103117235L};
        int[][] steps = {{0, 1}, {1, 1}, {0, 2}, {2, 1}, {1, 2}, {2, 2}, {1, 3}, {0, 3}, {2, 3}, {0, 4}};
        String[] tags = {"TagA", "TagC", "TagD"};
        DefaultMQProducer producer = start(run);
        Map<Long, Integer> queueOf = new HashMap<>();
        for (int i = 0; i < steps.length; i++) {
            long order = orders[steps[i][0]];
            Message message = run.message("TopicTest", tags[i % 3], "KEY" + i, order + " step " + steps[i][1]);
            SendResult result = run.sent(producer.send(message,
                (queues, sent, argument) -> queues.get((int) ((Long) argument % queues.size())), order));
            Integer before = queueOf.put(order, result.getMessageQueue().getQueueId());
            run.check(before == null || before == result.getMessageQueue().getQueueId(), "one order, two queues");
        }
        run.routed("TopicTest");
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(run.group("please_rename_unique_group_name_3"));
        run.atEnd(consumer::shutdown);
        consumer.setNamesrvAddr(run.namesrv());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe("TopicTest", "TagA || TagC || TagD");
        Inbox inbox = new Inbox(run);
        Map<Integer, String> reading = new ConcurrentHashMap<>();
        AtomicReference<String> clash = new AtomicReference<>();
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            context.setAutoCommit(true);
            int queue = context.getMessageQueue().getQueueId();
            String other = reading.put(queue, Thread.currentThread().getName());
            if (other != null) {
                clash.set("queue " + queue + " was read by two threads at once");
            }
            inbox.add(messages);
            if (inbox.size() > 0 && inbox.size() < steps.length) {
                pause(ThreadLocalRandom.current().nextInt(20));
            }
            reading.remove(queue);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Map<String, Integer> next = new HashMap<>();
        List<MessageExt> got = inbox.take(steps.length, 30);
        run.equal(steps.length, got.size(), "messages");
        for (MessageExt message : got) {
            String[] words = Inbox.text(message).split(" step ");
            int expected = next.merge(words[0], 1, Integer::sum);
            run.equal(expected, Integer.parseInt(words[1]), "step of order " + words[0]);
        }
        run.equal(null, clash.get(), "readers of a queue");
    }

    private static void pause(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Section 4.4.1: a small batch. */
    private static void batch(Run run) throws Exception {
        DefaultMQProducer producer = start(run);
        List<Message> messages = new ArrayList<>();
        Set<String> texts = new TreeSet<>();
        for (int i = 1; i <= 3; i++) {
            messages.add(run.message("BatchTest", "TagA", "OrderID00" + i, "batched " + i));
            texts.add("batched " + i);
        }
        SendResult result = run.sent(producer.send(messages));
        run.equal(3, result.getMsgId().split(",").length, "message ids of a batch");
        run.equal(3, result.getOffsetMsgId().split(",").length, "offset ids of a batch");
        Map<String, MessageExt> got = run.collect("BatchTest", "TagA").expect(texts, 20);
        for (int i = 1; i <= 3; i++) {
            MessageExt message = got.get("batched " + i);
            run.equal("OrderID00" + i, message.getKeys(), "keys");
            run.equal(result.getQueueOffset() + i - 1, message.getQueueOffset(), "offsets of a batch are consecutive");
            run.equal(result.getMessageQueue().getQueueId(), message.getQueueId(), "one queue");
        }
        String[] offsetIds = result.getOffsetMsgId().split(",");
        MessageExt viewed = Dialect.view(producer, "BatchTest", offsetIds[1]);
        run.equal("batched 2", Inbox.text(viewed), "the second id of a batch");
    }

    /** Section 4.4.1: more than 4 MiB is sent as several batches. */
    private static void batchSplitting(Run run) throws Exception {
        DefaultMQProducer producer = start(run);
        String topic = run.topic("BatchTest");
        List<Message> messages = new ArrayList<>();
        Set<String> texts = new TreeSet<>();
        char[] filler = new char[20_000];
        Arrays.fill(filler, 'x');
        for (int i = 0; i < 500; i++) {
            String text = i + new String(filler);
            messages.add(run.message(topic, "TagA", "OrderID" + i, text));
            texts.add(text);
        }
        run.sent(producer.send(run.message(topic, "TagA", "", "first")));
        texts.add("first");
        int batches = 0;
        for (Iterator<List<Message>> parts = new Parts(messages); parts.hasNext(); batches++) {
            run.sent(producer.send(parts.next()));
        }
        run.equal(3, batches, "batches of at most 4 MiB");
        run.collect(topic, "*").expect(texts, 30);
    }

    /** Cuts a list of messages into lists of at most 4 MiB, by the same reckoning as the tutorial's splitter. */
    private static final class Parts implements Iterator<List<Message>> {
        private static final int LIMIT = 4 << 20;
        private final List<Message> messages;
        private int from;

        Parts(List<Message> messages) {
            this.messages = messages;
        }

        @Override
        public boolean hasNext() {
            return from < messages.size();
        }

        @Override
        public List<Message> next() {
            if (!hasNext()) {
                throw new NoSuchElementException();
            }
            int to = from;
            for (int total = 0; to < messages.size(); to++) {
                total += size(messages.get(to));
                if (total > LIMIT && to > from) {
                    break;
                }
            }
            List<Message> part = messages.subList(from, to);
            from = to;
            return part;
        }

        private static int size(Message message) {
            int size = 20 + message.getTopic().length() + message.getBody().length;
            for (Map.Entry<String, String> property : message.getProperties().entrySet()) {
                size += property.getKey().length() + property.getValue().length();
            }
            return size;
        }
    }
}
