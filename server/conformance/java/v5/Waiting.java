import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.impl.ClientRemotingProcessor;
import org.apache.rocketmq.client.impl.mqclient.MQClientAPIExt;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.protocol.header.NotificationRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;

/** Pops and notifications that a broker holds until there is something. */
final class Waiting {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("pop-held-with-tags", run -> held(run, "TAG", "TagA || TagC"));
        scenarios.put("pop-held-with-sql", run -> held(run, "SQL92", "a > 5 and b is not null"));
        scenarios.put("pop-held-in-vain", Waiting::inVain);
        scenarios.put("notification", Waiting::notification);
    }

    private static CompletableFuture<PopResult> wait(Popper popper, String kind, String expression, long poll) throws Exception {
        PopMessageRequestHeader header = popper.header(8, 60_000, poll);
        header.setExpType(kind);
        header.setExp(expression);
        CompletableFuture<PopResult> held = popper.ask(header);
        popper.run.await("the pop to be held", 10, () -> popper.waiting() == 1);
        return held;
    }

    private static Message message(Run run, String topic, String tag, int a, String text) {
        Message message = run.message(topic, tag, "", text);
        message.putUserProperty("a", String.valueOf(a));
        message.putUserProperty("b", "b");
        return message;
    }

    /** A pop that is held goes on waiting while only what its filter leaves out comes, and is answered with what it takes. */
    private static void held(Run run, String kind, String expression) throws Exception {
        String topic = run.create("Held" + kind, 1);
        DefaultMQProducer producer = run.producer();
        Popper popper = new Popper(run, topic, "holding");
        Popper other = new Popper(run, topic, "taking");
        // Somebody else of the group takes everything, so that nothing is passed over for good.
        run.equal(0, popper.found(8, 60_000, 0).size(), "messages of an empty topic");
        CompletableFuture<PopResult> held = wait(popper, kind, expression, 60_000);
        Set<String> leftOut = new TreeSet<>();
        for (int i = 0; i < 3; i++) {
            String text = "not for it " + i;
            leftOut.add(text);
            run.sent(producer.send(message(run, topic, "TagB", 1, text)));
            // It is there for everybody once another group has it.
            run.equal(Collections.singleton(text), Popper.texts(other.found(8, 60_000, 15_000)), "what others get");
            run.await("the pop to be held again", 10, () -> popper.waiting() == 1);
            run.check(!held.isDone(), "answered with " + (held.isDone() ? held.get() : null));
        }
        run.sent(producer.send(message(run, topic, "TagA", 10, "for it")));
        PopResult answer = held.get(30, TimeUnit.SECONDS);
        run.equal(PopStatus.FOUND, answer.getPopStatus(), "status");
        run.equal(Collections.singleton("for it"), Popper.texts(answer.getMsgFoundList()), "what it was answered with");
        if (!run.apache()) { // there they are lost to the whole group
            List<MessageExt> left = popper.found(8, 60_000, 0);
            run.equal(leftOut, Popper.texts(left), "what is left for the other member of the group");
        }
    }

    /** A pop for which nothing comes is answered with nothing when its time is over, not sooner. */
    private static void inVain(Run run) throws Exception {
        String topic = run.create("InVain", 1);
        DefaultMQProducer producer = run.producer();
        Popper popper = new Popper(run, topic, "vain");
        long begun = System.currentTimeMillis();
        CompletableFuture<PopResult> held = wait(popper, "TAG", "TagA", 3_000);
        run.sent(producer.send(message(run, topic, "TagB", 1, "not for it")));
        PopResult answer = held.get(20, TimeUnit.SECONDS);
        long waited = System.currentTimeMillis() - begun;
        run.equal(PopStatus.POLLING_NOT_FOUND, answer.getPopStatus(), "status");
        run.check(waited >= 2_900 && waited < 10_000, "answered after " + waited + " ms"); // Apache is up to 50 ms early
        run.equal(0, popper.waiting(), "who waits");
    }

    /** Whether there is something: held until there is, or until its time is over; it takes nothing. */
    private static void notification(Run run) throws Exception {
        String topic = run.create("Notified", 1);
        DefaultMQProducer producer = run.producer();
        Popper popper = new Popper(run, topic, "notified");
        MQClientAPIExt api = new MQClientAPIExt(new ClientConfig(), new NettyClientConfig(),
            new ClientRemotingProcessor(producer.getDefaultMQProducerImpl().getMqClientFactory()), null);
        api.start();
        run.atEnd(api::shutdown);
        CompletableFuture<Boolean> woken = ask(api, popper, 30_000);
        long begun = System.currentTimeMillis();
        run.equal(false, ask(api, popper, 2_000).get(20, TimeUnit.SECONDS), "a message in an empty topic");
        long waited = System.currentTimeMillis() - begun;
        run.check(waited >= 1_900 && waited < 10_000, "answered after " + waited + " ms");
        run.check(!woken.isDone(), "the other one was answered, too");
        run.sent(producer.send(new Message(topic, run.body("there"))));
        run.equal(true, woken.get(15, TimeUnit.SECONDS), "a message that came");
        run.equal(true, ask(api, popper, 0).get(15, TimeUnit.SECONDS), "a message that is there");
        List<MessageExt> found = popper.found(8, 60_000, 5_000);
        run.equal(Collections.singleton("there"), Popper.texts(found), "what is popped");
        run.equal(false, ask(api, popper, 0).get(15, TimeUnit.SECONDS), "a message that somebody has");
        popper.ack(Popper.handle(found.get(0)));
    }

    private static CompletableFuture<Boolean> ask(MQClientAPIExt api, Popper popper, long poll) {
        NotificationRequestHeader header = new NotificationRequestHeader();
        header.setConsumerGroup(popper.group);
        header.setTopic(popper.topic);
        header.setQueueId(-1);
        header.setPollTime(poll);
        header.setBornTime(System.currentTimeMillis());
        return api.notification(popper.address, header, poll + 10_000);
    }
}
