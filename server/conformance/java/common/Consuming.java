import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Push consumers beyond the tutorial's. */
final class Consuming {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("tag-filter", Consuming::tagFilter);
        scenarios.put("restart", Consuming::restart);
        scenarios.put("rebalance", Consuming::rebalance);
        scenarios.put("long-poll", Consuming::longPoll);
        scenarios.put("from-last", Consuming::fromLast);
        scenarios.put("from-timestamp", Consuming::fromTimestamp);
        scenarios.put("post-subscription", Consuming::postSubscription);
        scenarios.put("orderly-suspend", Consuming::orderlySuspend);
        scenarios.put("orderly-two-members", Consuming::orderlyTwoMembers);
        scenarios.put("retry-nothing-lost", Consuming::retryNothingLost);
        scenarios.put("two-topics", Consuming::twoTopics);
    }

    /** The queues of a topic that a push consumer reads at present. */
    static Set<MessageQueue> held(DefaultMQPushConsumer consumer, String topic) {
        Set<MessageQueue> queues = new HashSet<>();
        consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().forEach((queue, process) -> {
            if (queue.getTopic().equals(topic) && !process.isDropped()) {
                queues.add(queue);
            }
        });
        return queues;
    }

    /** Waits until the members hold all queues, no queue twice, and each member at least one. */
    static void shared(Run run, String topic, List<DefaultMQPushConsumer> members, int queues) throws Exception {
        run.await(members.size() + " members to share " + queues + " queues of " + topic, 60, () -> {
            Set<MessageQueue> all = new HashSet<>();
            int sum = 0;
            for (DefaultMQPushConsumer member : members) {
                Set<MessageQueue> own = held(member, topic);
                if (own.isEmpty()) {
                    return false;
                }
                all.addAll(own);
                sum += own.size();
            }
            return all.size() == queues && sum == queues;
        });
    }

    /** Tags, also two with the same hash: the broker may let the wrong one through, the client must not see it. */
    private static void tagFilter(Run run) throws Exception {
        String topic = run.create("Tags", 2);
        DefaultMQProducer producer = run.producer();
        Inbox two = run.collect(topic, "TagA || TagB");
        Inbox hash = run.collect(topic, "Aa");
        Inbox all = run.collect(topic, "*");
        run.equal("Aa".hashCode(), "BB".hashCode(), "the two tags of equal hash");
        Set<String> texts = new TreeSet<>();
        for (String tag : Arrays.asList("TagA", "TagB", "TagC", "Aa", "BB", "标签")) {
            for (int i = 0; i < 3; i++) {
                run.sent(producer.send(run.message(topic, tag, "", tag + i)));
                texts.add(tag + i);
            }
        }
        run.sent(producer.send(new Message(topic, run.body("without"))));
        texts.add("without");
        all.expect(texts, 15);
        two.expect(new TreeSet<>(Arrays.asList("TagA0", "TagA1", "TagA2", "TagB0", "TagB1", "TagB2")), 15);
        hash.expect(new TreeSet<>(Arrays.asList("Aa0", "Aa1", "Aa2")), 15);
        Inbox late = run.collect(topic, "标签");
        late.expect(new TreeSet<>(Arrays.asList("标签0", "标签1", "标签2")), 15);
    }

    /** A group that comes back goes on where it left. */
    private static void restart(Run run) throws Exception {
        String topic = run.create("Restart", 4);
        DefaultMQProducer producer = run.producer();
        int rounds = 0;
        for (String round : Arrays.asList("first", "second", "third")) {
            Set<String> texts = new TreeSet<>();
            for (int i = 0; i < 20; i++) {
                run.sent(producer.send(new Message(topic, run.body(round + i))));
                texts.add(round + i);
            }
            DefaultMQPushConsumer consumer = run.newPush("restarting");
            consumer.subscribe(topic, "*");
            Inbox inbox = new Inbox(run);
            consumer.registerMessageListener(inbox.concurrently());
            consumer.start();
            inbox.expect(texts, 20);
            // A message counts as read when its listener has returned, not when it was called.
            long done = 20L * ++rounds;
            run.await("the offsets of the " + round + " round", 10, () -> held(consumer, topic).stream()
                .mapToLong(queue -> Math.max(0, consumer.getDefaultMQPushConsumerImpl().getOffsetStore()
                    .readOffset(queue, ReadOffsetType.READ_FROM_MEMORY))).sum() == done);
            consumer.shutdown();
            run.equal(20, inbox.size(), "messages of the " + round + " round");
        }
    }

    /** A second member takes half of the queues at once; when it leaves, the first has all of them at once. */
    private static void rebalance(Run run) throws Exception {
        String topic = run.create("Rebalance", 8);
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer first = member(run, topic, "one", inbox);
        shared(run, topic, Collections.singletonList(first), 8);
        long joined = System.nanoTime();
        DefaultMQPushConsumer second = member(run, topic, "two", inbox);
        shared(run, topic, Arrays.asList(first, second), 8);
        run.equal(4, held(first, topic).size(), "queues of the first member");
        long joining = (System.nanoTime() - joined) / 1_000_000;
        long left = System.nanoTime();
        second.shutdown();
        shared(run, topic, Collections.singletonList(first), 8);
        long leaving = (System.nanoTime() - left) / 1_000_000;
        run.emit("times", "joiningMs", joining, "leavingMs", leaving);
        // A client left alone would rebalance after 20 s: anything near that means that nobody told it.
        run.check(joining < 15_000, "a new member was noticed after " + joining + " ms");
        run.check(leaving < 15_000, "a leaving member was noticed after " + leaving + " ms");
        DefaultMQProducer producer = run.producer();
        Set<String> texts = new TreeSet<>();
        for (int i = 0; i < 16; i++) {
            run.sent(producer.send(new Message(topic, run.body("after " + i))));
            texts.add("after " + i);
        }
        inbox.expect(texts, 15);
    }

    private static DefaultMQPushConsumer member(Run run, String topic, String name, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = run.newPush("members");
        consumer.setInstanceName(run.mark + name);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        return consumer;
    }

    /** A waiting consumer is woken by a message: well before any poll would have found it. */
    private static void longPoll(Run run) throws Exception {
        String topic = run.create("Wake", 1);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = run.collect(topic, "*");
        run.sent(producer.send(new Message(topic, run.body("warm up"))));
        inbox.take(1, 15);
        List<Long> waits = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            long start = System.nanoTime();
            run.sent(producer.send(new Message(topic, run.body("wake " + i))));
            inbox.take(i + 2, 10);
            waits.add((System.nanoTime() - start) / 1_000);
        }
        Collections.sort(waits);
        run.emit("wake", "medianMicros", waits.get(10), "maxMicros", waits.get(19));
        run.check(waits.get(10) < 300_000, "a consumer waits " + waits.get(10) + " us for its message");
    }

    /** A new group of a topic whose first message is still there starts at the first, as Apache has it. */
    private static void fromLast(Run run) throws Exception {
        String topic = run.create("Last", 1);
        DefaultMQProducer producer = run.producer();
        run.sent(producer.send(new Message(topic, run.body("old"))));
        DefaultMQPushConsumer consumer = run.newPush("last");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox(run);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.take(1, 15);
        run.sent(producer.send(new Message(topic, run.body("new"))));
        inbox.expect(new TreeSet<>(Arrays.asList("old", "new")), 15);
    }

    private static void fromTimestamp(Run run) throws Exception {
        String topic = run.create("Stamp", 1);
        DefaultMQProducer producer = run.producer();
        run.sent(producer.send(new Message(topic, run.body("a"))));
        run.sent(producer.send(new Message(topic, run.body("b"))));
        DefaultMQPushConsumer consumer = run.newPush("stamp");
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        consumer.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(System.currentTimeMillis() - 3_600_000));
        consumer.subscribe(topic, "*");
        Inbox inbox = new Inbox(run);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        inbox.expect(new TreeSet<>(Arrays.asList("a", "b")), 15);
    }

    /** The subscription travels with each pull instead of with the heartbeat alone. */
    private static void postSubscription(Run run) throws Exception {
        String topic = run.create("Post", 2);
        DefaultMQProducer producer = run.producer();
        DefaultMQPushConsumer consumer = run.newPush("post");
        consumer.setPostSubscriptionWhenPull(true);
        consumer.subscribe(topic, "X || Y");
        Inbox inbox = new Inbox(run);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        for (String tag : Arrays.asList("X", "Z", "Y", "Z")) {
            run.sent(producer.send(run.message(topic, tag, "", tag)));
        }
        inbox.expect(new TreeSet<>(Arrays.asList("X", "Y")), 15);
    }

    /** An orderly consumer that asks for a pause gets the same message again, and nothing behind it before. */
    private static void orderlySuspend(Run run) throws Exception {
        String topic = run.create("Suspend", 1);
        DefaultMQProducer producer = run.producer();
        for (int i = 0; i < 5; i++) {
            run.sent(producer.send(new Message(topic, run.body("step " + i))));
        }
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        Map<String, Integer> tries = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = run.newPush("suspend");
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            String text = Inbox.text(messages.get(0));
            if (text.equals("step 2") && tries.merge(text, 1, Integer::sum) == 1) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            messages.forEach(message -> seen.add(Inbox.text(message)));
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        run.await("five steps", 60, () -> seen.size() >= 5);
        run.equal(Arrays.asList("step 0", "step 1", "step 2", "step 3", "step 4"), new ArrayList<>(seen), "steps");
        run.equal(2, tries.get("step 2"), "tries of the third step");
    }

    /** Two orderly members never read one queue at the same time: the broker's locks hold. */
    private static void orderlyTwoMembers(Run run) throws Exception {
        String topic = run.create("Locks", 4);
        DefaultMQProducer producer = run.producer();
        Map<Integer, List<String>> seen = new HashMap<>();
        Inbox inbox = new Inbox(run);
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (String name : Arrays.asList("one", "two")) {
            DefaultMQPushConsumer consumer = run.newPush("locks");
            consumer.setInstanceName(run.mark + name);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
                inbox.add(messages);
                return ConsumeOrderlyStatus.SUCCESS;
            });
            consumer.start();
            members.add(consumer);
        }
        // The 4.9 client that was refused a lock asks again only after 20 s unless it is told to.
        run.await("the locks to be shared", 30, () -> {
            members.forEach(member -> member.getDefaultMQPushConsumerImpl().getmQClientFactory().rebalanceImmediately());
            return members.stream().allMatch(member -> held(member, topic).size() == 2);
        });
        Set<String> texts = new TreeSet<>();
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        for (int i = 0; i < 40; i++) {
            run.sent(producer.send(new Message(topic, run.body("n" + i)), queues.get(i % 4)));
            texts.add("n" + i);
        }
        inbox.expect(texts, 40);
        for (MessageExt message : inbox.take(40, 1)) {
            seen.computeIfAbsent(message.getQueueId(), queue -> new ArrayList<>()).add(Inbox.text(message));
        }
        seen.forEach((queue, list) -> {
            for (int i = 1; i < list.size(); i++) {
                int before = Integer.parseInt(list.get(i - 1).substring(1));
                run.equal(before + 4, Integer.parseInt(list.get(i).substring(1)), "order in queue " + queue);
            }
        });
    }

    /** A listener that fails once gets its message again, whether the broker takes it back or the client keeps it. */
    private static void retryNothingLost(Run run) throws Exception {
        String topic = run.create("Again", 1);
        DefaultMQProducer producer = run.producer();
        Map<String, Integer> tries = new ConcurrentHashMap<>();
        DefaultMQPushConsumer consumer = run.newPush("again");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            boolean again = false;
            for (MessageExt message : messages) {
                again |= tries.merge(Inbox.text(message), 1, Integer::sum) == 1 && Inbox.text(message).equals("stubborn");
            }
            return again ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        run.sent(producer.send(new Message(topic, run.body("stubborn"))));
        run.await("the second try", 30, () -> tries.getOrDefault("stubborn", 0) >= 2);
        run.sent(producer.send(new Message(topic, run.body("easy"))));
        run.await("the message after it", 10, () -> tries.containsKey("easy"));
    }

    /** One consumer, two topics, a filter each. */
    private static void twoTopics(Run run) throws Exception {
        String first = run.create("TwoA", 2);
        String second = run.create("TwoB", 2);
        DefaultMQProducer producer = run.producer();
        DefaultMQPushConsumer consumer = run.newPush("two");
        consumer.subscribe(first, "A");
        consumer.subscribe(second, "B");
        Inbox inbox = new Inbox(run);
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        for (String topic : Arrays.asList(first, second)) {
            for (String tag : Arrays.asList("A", "B")) {
                run.sent(producer.send(run.message(topic, tag, "", topic.substring(0, 4) + tag)));
            }
        }
        inbox.expect(new TreeSet<>(Arrays.asList("TwoAA", "TwoBB")), 15);
    }
}
