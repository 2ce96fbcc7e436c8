import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** Groups that pop are sent to other offsets, with messages out and pops held. */
final class Rewinding {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("pop-reset", run -> rewind(run, false));
        scenarios.put("pop-reset-in-order", run -> rewind(run, true));
    }

    /** A topic of one queue with six messages, from m0 on. */
    private static final class Queue {
        final Run run;
        final boolean order;
        final DefaultMQAdminExt admin;
        final Popper popper;

        Queue(Run run, boolean order) throws Exception {
            this.run = run;
            this.order = order;
            String topic = run.create(order ? "RewoundInOrder" : "RewoundPops", 1);
            DefaultMQProducer producer = run.producer();
            for (int i = 0; i < 6; i++) {
                run.sent(producer.send(new Message(topic, run.body("m" + i))));
            }
            admin = Returning.admin(run);
            popper = new Popper(run, topic, "rewinding");
        }

        CompletableFuture<PopResult> ask(int max, long poll) throws Exception {
            PopMessageRequestHeader header = popper.header(max, 60_000, poll);
            header.setOrder(order);
            return popper.ask(header);
        }

        /** Pops, and checks that it is these. */
        List<MessageExt> pop(int max, String... expected) throws Exception {
            return these(ask(max, 5_000), expected);
        }

        List<MessageExt> these(CompletableFuture<PopResult> answer, String... expected) throws Exception {
            PopResult result = answer.get(30, TimeUnit.SECONDS);
            run.equal(PopStatus.FOUND, result.getPopStatus(), "status, where " + Arrays.toString(expected) + " should come");
            List<MessageExt> found = result.getMsgFoundList();
            run.equal(new TreeSet<>(Arrays.asList(expected)), new TreeSet<>(Popper.texts(found)), "what is popped");
            return found;
        }

        void reset(long offset) throws Exception {
            admin.resetOffsetByQueueId(popper.address, popper.group, popper.topic, 0, offset);
        }

        void ack(List<MessageExt> messages) throws Exception {
            for (String handle : messages.stream().map(Popper::handle).collect(Collectors.toList())) {
                popper.ack(handle);
            }
        }
    }

    private static void rewind(Run run, boolean order) throws Exception {
        Queue queue = new Queue(run, order);
        List<MessageExt> out = queue.pop(3, "m0", "m1", "m2");
        queue.reset(4); // forward, though three are out
        List<MessageExt> skipped = queue.pop(8, "m4", "m5");
        queue.ack(out); // of before the reset: accepted, and for nothing
        queue.ack(skipped);
        queue.reset(2);
        queue.reset(1); // the last one counts
        List<MessageExt> again = queue.pop(8, "m1", "m2", "m3", "m4", "m5");
        queue.ack(again);
        if (run.apache()) {
            return; // does not wake who waits
        }
        CompletableFuture<PopResult> held = queue.ask(8, 30_000);
        run.await("the pop to be held", 10, () -> queue.popper.waiting() == 1);
        queue.reset(3);
        queue.ack(queue.these(held, "m3", "m4", "m5"));
        run.equal(PopStatus.POLLING_NOT_FOUND, queue.ask(8, 0).get(20, TimeUnit.SECONDS).getPopStatus(), "status when all is done");
    }
}
