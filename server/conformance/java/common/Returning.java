import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What comes back: retries and dead letters, replies, offsets that are set back, and answers of running consumers. */
final class Returning {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("retry-dead-letter", Returning::deadLetter);
        scenarios.put("orderly-gives-up", Returning::orderlyGivesUp);
        scenarios.put("request-reply", Returning::requestReply);
        scenarios.put("reset-online", Returning::resetOnline);
        scenarios.put("reset-offline", Returning::resetOffline);
        scenarios.put("running-consumer", Returning::runningConsumer);
    }

    static DefaultMQAdminExt admin(Run run) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(10_000);
        admin.setNamesrvAddr(run.namesrv());
        admin.setInstanceName("admin" + System.nanoTime());
        admin.start();
        run.atEnd(admin::shutdown);
        return admin;
    }

    /** The offset of a consumer's queue that the broker keeps, or a broadcasting member's file. */
    static long committed(DefaultMQPushConsumer consumer, MessageQueue queue) {
        return consumer.getDefaultMQPushConsumerImpl().getOffsetStore().readOffset(queue, ReadOffsetType.READ_FROM_STORE);
    }

    /** The offset of a queue up to which this consumer has consumed, written down or not. */
    static long kept(DefaultMQPushConsumer consumer, MessageQueue queue) {
        return consumer.getDefaultMQPushConsumerImpl().getOffsetStore().readOffset(queue, ReadOffsetType.READ_FROM_MEMORY);
    }

    private static String client(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
    }

    /** The one dead letter of a group: where it came from, how often it was tried, and no delay left over. */
    private static void expectDeadLetter(Run run, String group, String topic, String text, int times) throws Exception {
        Inbox letters = run.collect("%DLQ%" + run.group(group), "*");
        MessageExt letter = letters.expect(Collections.singleton(text), 30).get(text);
        // A consumer in order counts once more each time it cannot send the message away yet.
        run.check(letter.getReconsumeTimes() >= times, "times of the dead letter: " + letter.getReconsumeTimes());
        run.equal(topic, letter.getProperty("RETRY_TOPIC"), "RETRY_TOPIC");
        if (!run.apache()) {
            run.equal(topic, letter.getProperty("DLQ_ORIGIN_TOPIC"), "DLQ_ORIGIN_TOPIC");
            run.equal(letter.getProperty("ORIGIN_MESSAGE_ID"), letter.getProperty("DLQ_ORIGIN_MESSAGE_ID"), "DLQ_ORIGIN_MESSAGE_ID");
            run.equal(0, letter.getDelayTimeLevel(), "delay level of the dead letter");
        }
    }

    /** Two retries are allowed: three tries, and a dead letter on the third. */
    private static void deadLetter(Run run) throws Exception {
        String topic = run.create("Failing", 1);
        DefaultMQProducer producer = run.producer();
        List<Integer> tries = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = run.newPush("failing");
        consumer.setMaxReconsumeTimes(2);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> tries.add(message.getReconsumeTimes()));
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        run.sent(producer.send(new Message(topic, run.body("hopeless"))));
        run.await("three tries", 60, () -> tries.size() >= 3);
        expectDeadLetter(run, "failing", topic, "hopeless", 3);
        run.equal(Arrays.asList(0, 1, 2), tries, "times of the tries");
        run.equal(3, tries.size(), "tries");
    }

    /** A consumer in order tries in place, then sends the message away and goes on behind it. */
    private static void orderlyGivesUp(Run run) throws Exception {
        String topic = run.create("Stuck", 1);
        DefaultMQProducer producer = run.producer();
        List<String> done = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = run.newPush("stuck");
        consumer.setMaxReconsumeTimes(1);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            context.setSuspendCurrentQueueTimeMillis(20);
            if (Inbox.text(messages.get(0)).equals("stone")) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            messages.forEach(message -> done.add(Inbox.text(message)));
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        for (String text : Arrays.asList("before", "stone", "behind")) {
            run.sent(producer.send(new Message(topic, run.body(text))));
        }
        run.await("the message behind the one that is given up", 30, () -> done.contains("behind"));
        expectDeadLetter(run, "stuck", topic, "stone", 1);
    }

    private static void requestReply(Run run) throws Exception {
        String topic = run.create("Asked", 1);
        DefaultMQProducer replier = run.newProducer("replier");
        replier.start();
        DefaultMQPushConsumer consumer = run.newPush("replying");
        consumer.subscribe(topic, "*");
        CountDownLatch warm = new CountDownLatch(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                if (message.getProperty("REPLY_TO_CLIENT") == null) {
                    warm.countDown();
                    continue;
                }
                try {
                    byte[] body = ("reply to " + Inbox.text(message)).getBytes();
                    replier.send(MessageUtil.createReplyMessage(message, body), 5_000);
                } catch (Exception e) {
                    run.emit("reply", "error", Run.trace(e)); // the requester asks again
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        DefaultMQProducer producer = run.producer();
        // A 5.x consumer may be answered 25 for half a minute first: see Run.patience.
        run.sent(producer.send(new Message(topic, run.body("no request"))));
        run.check(warm.await(run.patience(30), TimeUnit.SECONDS), "the consumer's first message");
        // A broker learns from a heartbeat where a producer is, and that may be as late as half a minute after its start.
        String answer = run.await("a reply", 30, () -> {
            try {
                return new String(producer.request(new Message(topic, run.body("one")), 5_000).getBody());
            } catch (RequestTimeoutException e) {
                return null;
            }
        });
        run.equal("reply to one", answer, "the reply");
        CountDownLatch came = new CountDownLatch(1);
        AtomicReference<Object> got = new AtomicReference<>();
        producer.request(new Message(topic, run.body("two")), new RequestCallback() {
            @Override
            public void onSuccess(Message message) {
                got.set(new String(message.getBody()));
                came.countDown();
            }

            @Override
            public void onException(Throwable e) {
                got.set(e);
                came.countDown();
            }
        }, 15_000);
        run.check(came.await(20, TimeUnit.SECONDS), "an answer to the second request");
        run.equal("reply to two", got.get(), "the reply to the second request");
    }

    private static TreeSet<String> send(Run run, DefaultMQProducer producer, String topic) throws Exception {
        TreeSet<String> texts = new TreeSet<>();
        for (int i = 0; i < 4; i++) {
            run.sent(producer.send(new Message(topic, run.body("m" + i))));
            texts.add("m" + i);
        }
        return texts;
    }

    /** A consumer that waits is sent back to the first message, and gets all of them a second time. */
    private static void resetOnline(Run run) throws Exception {
        String topic = run.create("Rewound", 1);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("rewound");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        TreeSet<String> sent = send(run, producer, topic);
        inbox.expect(sent, 30);
        Map<MessageQueue, Long> targets = admin(run).resetOffsetByTimestamp(topic, run.group("rewound"), 0, true);
        run.equal(1, targets.size(), "queues of the reset");
        // In any order: each message has a thread of its own.
        TreeSet<String> again = new TreeSet<>();
        inbox.take(8, 30).stream().skip(4).map(Inbox::text).forEach(again::add);
        run.equal(sent, again, "what came after the reset");
    }

    private static void resetOffline(Run run) throws Exception {
        String topic = run.create("Skipped", 1);
        DefaultMQProducer producer = run.producer();
        Inbox first = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("skipping");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(first.concurrently());
        consumer.start();
        first.expect(send(run, producer, topic), 30);
        consumer.shutdown();
        run.sent(producer.send(new Message(topic, run.body("skipped"))));
        // Behind the last message: what was sent meanwhile is skipped.
        admin(run).resetOffsetByTimestamp(topic, run.group("skipping"), -1, true);
        Inbox second = new Inbox(run);
        DefaultMQPushConsumer again = run.newPush("skipping");
        again.subscribe(topic, "*");
        again.registerMessageListener(second.concurrently());
        again.start();
        run.await("the consumer's queue", 30, () -> !Consuming.held(again, topic).isEmpty());
        run.sent(producer.send(new Message(topic, run.body("next"))));
        second.expect(Collections.singleton("next"), 30);
    }

    /** Its state, its threads, its offsets, and a message handed to its listener. */
    private static void runningConsumer(Run run) throws Exception {
        String topic = run.create("Running", 1);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("running");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        SendResult sent = run.sent(producer.send(new Message(topic, run.body("once"))));
        inbox.take(1, 30);
        DefaultMQAdminExt admin = admin(run);
        String group = run.group("running");
        var info = admin.getConsumerRunningInfo(group, client(consumer), true);
        run.check(info.getJstack().contains("ConsumeMessageThread"), "threads of the consumer");
        run.check(info.getMqTable().keySet().stream().anyMatch(queue -> queue.getTopic().equals(topic)), "its queues");
        run.check(info.getProperties().containsKey("PROP_CLIENT_VERSION"), "its properties");
        Map<String, Map<MessageQueue, Long>> status = admin.getConsumeStatus(topic, group, "");
        run.equal(Collections.singleton(client(consumer)), status.keySet(), "clients with offsets");
        run.equal(1, status.get(client(consumer)).size(), "queues with offsets");
        var result = admin.consumeMessageDirectly(group, client(consumer), topic, sent.getOffsetMsgId());
        run.equal("CR_SUCCESS", String.valueOf(result.getConsumeResult()), "result of the listener");
        List<MessageExt> twice = inbox.take(2, 10);
        run.equal("once", Inbox.text(twice.get(1)), "the message handed over");
        Throwable absent = run.refused("a question to nobody", () -> admin.getConsumerRunningInfo(group, "nobody", false));
        run.check(String.valueOf(absent.getMessage()).contains("not online"), "why: " + absent);
    }
}
