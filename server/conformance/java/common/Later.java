import java.util.Map;
import java.util.TreeSet;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that come later: section 4.3 of the tutorial, and levels beside each other. */
final class Later {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("scheduled", Later::sample);
        scenarios.put("delay-levels", Later::levels);
        scenarios.put("timers-by-property", Later::timersByProperty);
    }

    /** How late a message may be on a machine that is busy with all the other tests; never early. */
    static final long LATE_MAX = 10_000;

    /** A consumer that waits, and a hundred messages of level 3: each comes ten seconds later. */
    private static void sample(Run run) throws Exception {
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("ExampleConsumer");
        consumer.subscribe("TestTopic", "*");
        consumer.registerMessageListener(timed(inbox));
        consumer.start();
        DefaultMQProducer producer = run.newProducer("ExampleProducerGroup");
        producer.start();
        TreeSet<String> texts = new TreeSet<>();
        for (int i = 0; i < 100; i++) {
            Message message = new Message("TestTopic", run.body("Hello scheduled message " + i));
            message.setDelayTimeLevel(3);
            run.sent(producer.send(message));
            texts.add("Hello scheduled message " + i);
        }
        for (MessageExt message : inbox.expect(texts, 60).values()) {
            inTime(run, message, 10_000);
            run.equal("TestTopic", message.getTopic(), "topic");
            run.equal(3, message.getDelayTimeLevel(), "level");
            run.equal(0, message.getReconsumeTimes(), "times");
        }
    }

    /** Shorter delays overtake longer ones, whatever was sent first. */
    private static void levels(Run run) throws Exception {
        String topic = run.create("Levels", 2);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("levels");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(timed(inbox));
        consumer.start();
        long[] delays = {5_000, 1_000, 0};
        int[] levels = {2, 1, 0};
        TreeSet<String> texts = new TreeSet<>();
        SendResult[] sent = new SendResult[3];
        for (int i = 0; i < 3; i++) {
            Message message = run.message(topic, "TagL", "level" + levels[i], "level " + levels[i]);
            message.setDelayTimeLevel(levels[i]);
            sent[i] = run.sent(producer.send(message));
            texts.add("level " + levels[i]);
        }
        Map<String, MessageExt> got = inbox.expect(texts, 30);
        for (int i = 0; i < 3; i++) {
            MessageExt message = got.get("level " + levels[i]);
            inTime(run, message, delays[i]);
            run.equal("TagL", message.getTags(), "tags");
            run.equal("level" + levels[i], message.getKeys(), "keys");
            run.equal(sent[i].getMsgId(), message.getMsgId(), "id");
            run.equal(sent[i].getMessageQueue().getQueueId(), message.getQueueId(), "queue");
        }
        run.check(got.get("level 1").getStoreTimestamp() < got.get("level 2").getStoreTimestamp(), "the shorter one came first");
    }

    /**
     * Any time, told by each of the three properties: 4.9 has no words for them, but lets them through. A time that has
     * passed means at once, one too far or none is refused.
     */
    private static void timersByProperty(Run run) throws Exception {
        String topic = run.create("TimersByProperty", 2);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("timers");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(timed(inbox));
        consumer.start();
        long begun = System.currentTimeMillis();
        String[][] timers = {
            {"seconds", "TIMER_DELAY_SEC", "3"},
            {"millis", "TIMER_DELAY_MS", "2500"},
            {"time", "TIMER_DELIVER_MS", String.valueOf(begun + 4_000)},
            {"past", "TIMER_DELIVER_MS", String.valueOf(begun - 5_000)},
        };
        TreeSet<String> texts = new TreeSet<>();
        for (String[] timer : timers) {
            run.sent(producer.send(timer(run, topic, timer)));
            texts.add(timer[0]);
        }
        Map<String, MessageExt> got = inbox.expect(texts, 40);
        // Apache's wheel ticks once a second, and tells a time in its steps.
        long step = run.apache() ? 1_000 : 0;
        inTime(run, got.get("seconds"), 3_000 - step);
        inTime(run, got.get("millis"), 2_500 - step);
        due(run, got.get("time"), begun + 4_000 - step);
        inTime(run, got.get("past"), 0);
        for (MessageExt message : got.values()) {
            run.equal(topic, message.getTopic(), "topic");
            run.equal(0, message.getReconsumeTimes(), "times");
        }
        String[][] none = {{"far", "TIMER_DELAY_SEC", "345600"}, {"word", "TIMER_DELAY_MS", "soon"}};
        for (String[] timer : none) {
            Throwable refusal = run.refused(timer[0], () -> producer.send(timer(run, topic, timer)));
            run.equal(13, Refusing.code(refusal), "code of " + refusal);
        }
    }

    private static Message timer(Run run, String topic, String[] timer) {
        Message message = new Message(topic, run.body(timer[0]));
        MessageAccessor.putProperty(message, timer[1], timer[2]); // one may not set it as one's own
        return message;
    }

    private static final String CAME = "CAME_AT";

    /** Notes when each message came. */
    static org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently timed(Inbox inbox) {
        return (batch, context) -> {
            for (MessageExt message : batch) {
                message.putUserProperty(CAME, String.valueOf(System.currentTimeMillis()));
            }
            inbox.add(batch);
            return org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    /** It came this long after it was born: never sooner, and not much later. */
    static void inTime(Run run, MessageExt message, long delay) {
        due(run, message, message.getBornTimestamp() + delay);
    }

    /** It came when it was due. A consumer's start may take long, so that it was in time is told by when it was stored. */
    static void due(Run run, MessageExt message, long due) {
        long came = Long.parseLong(message.getUserProperty(CAME));
        run.check(came >= due, "came " + (due - came) + " ms early: " + message);
        long late = message.getStoreTimestamp() - due;
        run.check(late < LATE_MAX, "was " + late + " ms late: " + message);
    }
}
