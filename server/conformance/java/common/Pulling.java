import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers that ask for messages themselves. */
final class Pulling {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("pull", Pulling::pull);
        scenarios.put("pull-held", Pulling::pullHeld);
        scenarios.put("lite-subscribe", Pulling::liteSubscribe);
        scenarios.put("lite-assign", Pulling::liteAssign);
    }

    /** Found, filtered, at the end, beyond the end; offsets kept by the broker. */
    private static void pull(Run run) throws Exception {
        String topic = run.create("Pull", 1);
        DefaultMQProducer producer = run.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        for (int i = 0; i < 10; i++) {
            run.sent(producer.send(run.message(topic, i % 2 == 0 ? "even" : "odd", "", "m" + i), queue));
        }
        DefaultMQPullConsumer consumer = run.pull("puller");
        run.equal(Collections.singleton(queue), consumer.fetchSubscribeMessageQueues(topic), "queues");

        PullResult all = consumer.pull(queue, "*", 0, 32);
        result(run, all, PullStatus.FOUND, 10, 0, 10, 10);
        for (int i = 0; i < 10; i++) {
            run.equal("m" + i, Inbox.text(all.getMsgFoundList().get(i)), "message " + i);
            run.equal((long) i, all.getMsgFoundList().get(i).getQueueOffset(), "its offset");
        }
        result(run, consumer.pull(queue, "*", 3, 4), PullStatus.FOUND, 7, 0, 10, 4);
        PullResult odd = consumer.pull(queue, "odd", 0, 32);
        run.equal(5, odd.getMsgFoundList().size(), "odd messages");
        result(run, consumer.pull(queue, "nothing", 0, 32), PullStatus.NO_MATCHED_MSG, 10, 0, 10, 0);
        result(run, consumer.pull(queue, "*", 10, 32), PullStatus.NO_NEW_MSG, 10, 0, 10, 0);
        result(run, consumer.pull(queue, "*", 12, 32), PullStatus.OFFSET_ILLEGAL, 10, 0, 10, 0);

        // Never committed, and offset 0 is still at hand: Apache answers 0 rather than "not found".
        run.equal(0L, consumer.fetchConsumeOffset(queue, true), "offset of a group that never committed");
        consumer.updateConsumeOffset(queue, 7);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persist(queue);
        run.await("the committed offset", 10, () -> consumer.fetchConsumeOffset(queue, true) == 7);
    }

    private static void result(Run run, PullResult result, PullStatus status, long next, long min, long max, int found) {
        run.equal(status, result.getPullStatus(), "status of " + result);
        run.equal(next, result.getNextBeginOffset(), "next offset of " + result);
        run.equal(min, result.getMinOffset(), "min offset of " + result);
        run.equal(max, result.getMaxOffset(), "max offset of " + result);
        List<MessageExt> messages = result.getMsgFoundList();
        run.equal(found, status == PullStatus.FOUND ? messages.size() : 0, "messages of " + result);
    }

    /** A pull that may wait is answered when the message comes, not when its time is over. */
    private static void pullHeld(Run run) throws Exception {
        String topic = run.create("Held", 1);
        DefaultMQProducer producer = run.producer();
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        run.sent(producer.send(run.message(topic, "other", "", "0"), queue));
        DefaultMQPullConsumer consumer = run.pull("waiting");
        run.equal(1, consumer.pull(queue, "*", 0, 32).getMsgFoundList().size(), "messages at the start");
        CompletableFuture<PullResult> held = new CompletableFuture<>();
        Thread asking = new Thread(() -> {
            try {
                held.complete(consumer.pullBlockIfNotFound(queue, "mine", 1, 32));
            } catch (Throwable e) {
                held.completeExceptionally(e);
            }
        });
        asking.start();
        run.await("the pull to be on its way", 5, () ->
            asking.getState() == Thread.State.TIMED_WAITING || asking.getState() == Thread.State.WAITING);
        run.check(!held.isDone(), "answered before anything was there");
        run.sent(producer.send(run.message(topic, "mine", "", "1"), queue));
        PullResult result = held.get(10, TimeUnit.SECONDS);
        run.equal(PullStatus.FOUND, result.getPullStatus(), "status");
        run.equal("1", Inbox.text(result.getMsgFoundList().get(0)), "message");
    }

    /** Subscribe and poll; a second consumer of the group goes on behind the first. */
    private static void liteSubscribe(Run run) throws Exception {
        String topic = run.create("Lite", 4);
        DefaultMQProducer producer = run.producer();
        for (String round : Arrays.asList("first", "second")) {
            Set<String> texts = new TreeSet<>();
            for (int i = 0; i < 12; i++) {
                run.sent(producer.send(run.message(topic, "TagA", "", round + i)));
                texts.add(round + i);
            }
            run.sent(producer.send(run.message(topic, "TagB", "", "not asked for")));
            DefaultLitePullConsumer consumer = run.newLite("lite");
            consumer.setAutoCommit(false);
            consumer.subscribe(topic, "TagA");
            consumer.start();
            Inbox inbox = new Inbox(run);
            run.await("the messages of the " + round + " round", 60, () -> {
                inbox.add(consumer.poll(500));
                return inbox.size() >= texts.size();
            });
            inbox.expect(texts, 1);
            consumer.commitSync();
            run.await("the commit", 10, () -> {
                long sum = 0;
                for (MessageQueue queue : consumer.assignment()) {
                    sum += Math.max(0, consumer.committed(queue));
                }
                return sum >= (round.equals("first") ? 12 : 24);
            });
            consumer.shutdown();
        }
    }

    /** Assign and seek: to an offset, to both ends; offsets by time. */
    private static void liteAssign(Run run) throws Exception {
        String topic = run.create("Assign", 2);
        DefaultMQProducer producer = run.producer();
        long before = System.currentTimeMillis();
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            for (int i = 0; i < 10; i++) {
                run.sent(producer.send(new Message(topic, run.body(queue.getQueueId() + "-" + i)), queue));
            }
        }
        DefaultLitePullConsumer consumer = run.newLite("assign");
        consumer.setAutoCommit(false);
        consumer.start();
        Collection<MessageQueue> queues = consumer.fetchMessageQueues(topic);
        run.equal(2, queues.size(), "queues");
        consumer.assign(queues);
        Set<String> all = new TreeSet<>();
        Set<String> last = new TreeSet<>();
        for (int queue = 0; queue < 2; queue++) {
            for (int i = 0; i < 10; i++) {
                (i < 6 ? all : last).add(queue + "-" + i);
            }
        }
        all.addAll(last);
        // First everything: a pull that is on its way while this client seeks may still deliver what it asked for before.
        Inbox inbox = new Inbox(run);
        run.await("everything", 60, () -> {
            inbox.add(consumer.poll(500));
            return inbox.size() >= all.size();
        });
        inbox.expect(all, 1);
        for (MessageQueue queue : queues) {
            run.equal(0L, consumer.offsetForTimestamp(queue, before - 1000), "offset by time");
            consumer.seek(queue, 6);
        }
        Inbox sought = new Inbox(run);
        run.await("everything from offset 6 on", 60, () -> {
            sought.add(consumer.poll(500));
            return sought.size() >= last.size();
        });
        sought.expect(last, 1);
        MessageQueue one = queues.iterator().next();
        consumer.seekToBegin(one);
        Inbox again = new Inbox(run);
        run.await("the queue from its beginning", 60, () -> {
            again.add(consumer.poll(500));
            return again.size() >= 10;
        });
        Map<Long, String> byOffset = new HashMap<>();
        again.take(10, 1).forEach(message -> byOffset.put(message.getQueueOffset(), Inbox.text(message)));
        run.equal(one.getQueueId() + "-0", byOffset.get(0L), "first message");
        consumer.seekToEnd(one);
        run.sent(producer.send(new Message(topic, run.body("newest")), one));
        Inbox end = new Inbox(run);
        run.await("the newest", 60, () -> {
            end.add(consumer.poll(500));
            return end.size() >= 1;
        });
        run.equal("newest", Inbox.text(end.take(1, 1).get(0)), "message after the end");
    }
}
