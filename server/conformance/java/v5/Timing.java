import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.TreeSet;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that come at any time, and that are taken back. */
final class Timing {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("timers", Timing::timers);
        scenarios.put("recall", Timing::recall);
    }

    /** Any time, told in each of three ways; a time that has passed means at once, and one too far is refused. */
    private static void timers(Run run) throws Exception {
        String topic = run.create("Timers", 2);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("timers");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(Later.timed(inbox));
        consumer.start();
        Message seconds = new Message(topic, run.body("seconds"));
        seconds.setDelayTimeSec(3);
        Message millis = new Message(topic, run.body("millis"));
        millis.setDelayTimeMs(2_500);
        Message time = new Message(topic, run.body("time"));
        long due = System.currentTimeMillis() + 4_000;
        time.setDeliverTimeMs(due);
        Message past = new Message(topic, run.body("past"));
        past.setDeliverTimeMs(System.currentTimeMillis() - 5_000);
        for (Message message : Arrays.asList(seconds, millis, time, past)) {
            run.sent(producer.send(message));
        }
        Map<String, MessageExt> got = inbox.expect(new TreeSet<>(Arrays.asList("seconds", "millis", "time", "past")), 40);
        // Apache's wheel ticks once a second, and tells a time in its steps.
        long step = run.apache() ? 1_000 : 0;
        Later.inTime(run, got.get("seconds"), 3_000 - step);
        Later.inTime(run, got.get("millis"), 2_500 - step);
        Later.due(run, got.get("time"), due - step);
        Later.inTime(run, got.get("past"), 0);
        Message far = new Message(topic, run.body("far"));
        far.setDelayTimeSec(4 * 24 * 3600);
        Throwable refusal = run.refused("four days", () -> producer.send(far));
        run.equal(13, Refusing.code(refusal), "code of " + refusal);
    }

    /** What is recalled in time never comes; a handle of nothing is answered like any other. */
    private static void recall(Run run) throws Exception {
        String topic = run.create("Recall", 2);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = run.collect(topic, "*");
        Message never = new Message(topic, run.body("never"));
        never.setDelayTimeSec(6);
        Message comes = new Message(topic, run.body("comes"));
        comes.setDelayTimeSec(7);
        SendResult sent = run.sent(producer.send(never));
        run.sent(producer.send(comes));
        run.check(sent.getRecallHandle() != null, "no handle");
        run.equal(sent.getMsgId(), producer.recallMessage(topic, sent.getRecallHandle()), "answer to the recall");
        run.refused("a handle that is none", () -> producer.recallMessage(topic, "no handle"));
        inbox.expect(new TreeSet<>(Collections.singleton("comes")), 40);
        Message plain = new Message(topic, run.body("plain"));
        run.equal(null, run.sent(producer.send(plain)).getRecallHandle(), "handle of a plain message");
        Message level = new Message(topic, run.body("level"));
        level.setDelayTimeLevel(1);
        run.equal(null, run.sent(producer.send(level)).getRecallHandle(), "handle of a level");
        inbox.expect(new TreeSet<>(Arrays.asList("comes", "plain", "level")), 30);
    }
}
