import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;

/** Popping: the push consumer in POP mode, and the requests by themselves. */
final class Popping {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("pop-push", Popping::push);
        scenarios.put("pop-push-two-members", Popping::twoMembers);
        scenarios.put("pop-requests", Popping::requests);
        scenarios.put("pop-ordered", Popping::ordered);
        scenarios.put("shared-out", Popping::sharedOut);
    }

    private static DefaultMQPushConsumer popping(Run run, String topic, MessageListenerConcurrently listener)
        throws Exception {
        DefaultMQPushConsumer consumer = run.newPush("popping");
        consumer.setClientRebalance(false);
        consumer.setPopInvisibleTime(10_000);
        consumer.setPopBatchNums(8);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    /** A push consumer in POP mode gets everything; what its listener fails on comes again, counted. */
    private static void push(Run run) throws Exception {
        String topic = run.create("PopPush", 4);
        new Popper(run, topic, "popping").mode(MessageRequestMode.POP);
        DefaultMQProducer producer = run.producer();
        Map<String, List<Integer>> times = new ConcurrentHashMap<>();
        Set<String> handled = ConcurrentHashMap.newKeySet();
        Set<String> topics = ConcurrentHashMap.newKeySet();
        AtomicInteger popped = new AtomicInteger();
        popping(run, topic, (batch, context) -> {
            boolean fails = false;
            for (MessageExt message : batch) {
                String text = Inbox.text(message);
                popped.addAndGet(Popper.handle(message) == null ? 0 : 1);
                topics.add(message.getTopic());
                List<Integer> before = times.computeIfAbsent(text, key -> Collections.synchronizedList(new ArrayList<>()));
                before.add(message.getReconsumeTimes());
                fails |= text.endsWith("7") && before.size() == 1;
                if (!fails) {
                    handled.add(text);
                }
            }
            return fails ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        Set<String> texts = new TreeSet<>();
        for (int i = 0; i < 40; i++) {
            run.sent(producer.send(new Message(topic, run.body("n" + i))));
            texts.add("n" + i);
        }
        run.await("all messages to be handled", 60, () -> handled.containsAll(texts));
        run.equal(new TreeSet<>(Collections.singleton(topic)), new TreeSet<>(topics), "topics shown");
        run.check(popped.get() >= 44, "only " + popped.get() + " messages had a receipt handle");
        for (String failed : Arrays.asList("n7", "n17", "n27", "n37")) {
            run.equal(Arrays.asList(0, 1), times.get(failed), "times of " + failed);
        }
        long once = times.values().stream().filter(list -> list.size() == 1).count();
        run.equal(36L, once, "messages handled once");
    }

    /** Two members pop one topic: every message to one of them; when one goes, nothing stays behind. */
    private static void twoMembers(Run run) throws Exception {
        String topic = run.create("PopMembers", 4);
        new Popper(run, topic, "popping").mode(MessageRequestMode.POP);
        Inbox first = new Inbox(run);
        Inbox second = new Inbox(run);
        DefaultMQPushConsumer leaving = popping(run, topic, first.concurrently());
        DefaultMQPushConsumer staying = run.newPush("popping");
        staying.setInstanceName(run.mark + "staying");
        staying.setClientRebalance(false);
        staying.setPopInvisibleTime(10_000);
        staying.setPopBatchNums(2);
        staying.subscribe(topic, "*");
        staying.registerMessageListener(second.concurrently());
        staying.start();
        DefaultMQProducer producer = run.producer();
        Set<String> texts = new TreeSet<>();
        for (int i = 0; i < 100; i++) {
            run.sent(producer.send(new Message(topic, run.body("m" + i))));
            texts.add("m" + i);
        }
        run.await("100 messages", 40, () -> first.size() + second.size() >= 100);
        Set<String> got = Popper.texts(first.take(0, 1));
        got.addAll(Popper.texts(second.take(0, 1)));
        run.equal(texts, got, "what both got");
        run.equal(100, first.size() + second.size(), "messages got");
        leaving.shutdown();
        int before = second.size();
        for (int i = 0; i < 10; i++) {
            run.sent(producer.send(new Message(topic, run.body("after" + i))));
        }
        run.await("10 messages for the one that stays", 40, () -> second.size() + first.size() >= 110);
        run.check(second.size() > before, "the member that stays got nothing");
    }

    /** Pop, ack, batch ack and change of invisible time, with the handles that Apache's client makes. */
    private static void requests(Run run) throws Exception {
        String topic = run.create("PopRequests", 2);
        Popper asking = new Popper(run, topic, "asking");
        DefaultMQProducer producer = run.producer();
        run.equal(0, asking.found(8, 5000, 0).size(), "messages of an empty topic");
        for (int i = 0; i < 12; i++) {
            run.sent(producer.send(new Message(topic, run.body("r" + i))));
        }
        List<MessageExt> all = new ArrayList<>();
        run.await("12 messages", 10, () -> {
            all.addAll(asking.found(32, 4000, 0));
            return all.size() >= 12;
        });
        long popped = System.nanoTime();
        run.equal(12, Popper.texts(all).size(), "different messages");
        for (MessageExt message : all) {
            String[] parts = ExtraInfoUtil.split(Popper.handle(message));
            run.equal(message.getQueueOffset(), ExtraInfoUtil.getQueueOffset(parts), "offset in the handle");
            run.equal(message.getQueueId(), ExtraInfoUtil.getQueueId(parts), "queue in the handle");
        }
        asking.ack(Popper.handle(all.get(0)));
        List<String> batch = new ArrayList<>();
        for (MessageExt message : all.subList(1, 8)) {
            batch.add(Popper.handle(message));
        }
        asking.ack(batch);
        String longer = asking.extend(Popper.handle(all.get(8)), 60_000);
        run.check(!longer.equals(Popper.handle(all.get(8))), "the handle is the same");
        // 9, 10 and 11 come back when their lease ends; a held pop is answered then.
        List<MessageExt> again = new ArrayList<>(asking.found(32, 20_000, 15_000));
        long waited = (System.nanoTime() - popped) / 1_000_000;
        run.check(waited > 3000, "came back after " + waited + " ms");
        run.await("three messages", 10, () -> {
            if (again.size() < 3) {
                again.addAll(asking.found(32, 20_000, 0));
            }
            return again.size() >= 3;
        });
        run.equal(Popper.texts(all.subList(9, 12)), Popper.texts(again), "what came back");
        for (MessageExt message : again) {
            run.equal(1, message.getReconsumeTimes(), "times");
            run.equal(topic, message.getTopic(), "topic shown");
            run.check(asking.real(Popper.handle(message)).startsWith("%RETRY%"), "not from a retry topic: " + Popper.handle(message));
        }
        asking.ack(again.stream().map(Popper::handle).collect(Collectors.toList()));
        asking.ack(longer);
        run.equal(0, asking.found(32, 5000, 1000).size(), "messages left");
    }

    /** Messages of one group follow each other; another group does not wait for them. */
    private static void ordered(Run run) throws Exception {
        String topic = run.create("PopOrdered", 1);
        Popper asking = new Popper(run, topic, "ordered");
        DefaultMQProducer producer = run.producer();
        for (String text : Arrays.asList("a1", "a2", "b1", "a3")) {
            Message message = new Message(topic, run.body(text));
            message.putUserProperty("__SHARDINGKEY", text.substring(0, 1));
            run.sent(producer.send(message));
        }
        List<MessageExt> first = asking.pop(1, 60_000, 5000, true, "one").getMsgFoundList();
        run.equal(new TreeSet<>(Collections.singleton("a1")), Popper.texts(first), "the first");
        if (!run.apache()) {
            List<MessageExt> other = asking.pop(8, 60_000, 0, true, "two").getMsgFoundList();
            run.equal(new TreeSet<>(Collections.singleton("b1")), Popper.texts(other), "of the other group");
        }
        // The same attempt asks again: its answer may have been lost.
        Thread.sleep(5);
        List<MessageExt> same = asking.pop(1, 60_000, 0, true, "one").getMsgFoundList();
        run.equal(new TreeSet<>(Collections.singleton("a1")), Popper.texts(same), "the same again");
        asking.ack(Popper.handle(same.get(0)));
        List<MessageExt> next = asking.pop(1, 60_000, 5000, true, "three").getMsgFoundList();
        run.equal(new TreeSet<>(Collections.singleton("a2")), Popper.texts(next), "the next");
    }

    /**
     * The brokers share out the queues of both of them among two members: each queue to one. Then the group pops, and
     * the members get the messages of both brokers.
     */
    private static void sharedOut(Run run) throws Exception {
        String topic = run.topic("Shared");
        DefaultMQProducer producer = run.producer();
        run.await("both brokers", 20, () -> brokers(run, producer).size() == 2);
        Dialect.createTopic(producer, topic, 4); // on all of them
        List<MessageQueue> queues = run.await("the route of both", 20, () -> {
            List<MessageQueue> all = run.routed(topic);
            return all.size() == 8 ? all : null;
        });
        Inbox inbox = new Inbox(run);
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (String name : Arrays.asList("one", "two")) {
            DefaultMQPushConsumer consumer = run.newPush("sharing");
            consumer.setInstanceName(run.mark + name);
            consumer.setClientRebalance(false);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(inbox.concurrently());
            consumer.start();
            members.add(consumer);
        }
        run.await("four queues each", 60, () -> {
            Set<MessageQueue> all = new java.util.HashSet<>();
            members.forEach(member -> all.addAll(Consuming.held(member, topic)));
            return all.size() == 8 && members.stream().allMatch(member -> Consuming.held(member, topic).size() == 4);
        });
        Set<String> texts = new TreeSet<>();
        send(run, producer, queues, texts, "pulled");
        inbox.expect(texts, 60);
        for (String address : brokers(run, producer)) {
            producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl()
                .setMessageRequestMode(address, topic, run.group("sharing"), MessageRequestMode.POP, -1, 5000);
        }
        run.await("popping", 60, () -> members.stream().allMatch(member ->
            member.getDefaultMQPushConsumerImpl().getRebalanceImpl().getPopProcessQueueTable().keySet().stream()
                .filter(queue -> queue.getTopic().equals(topic)).map(MessageQueue::getBrokerName).distinct().count() == 2));
        send(run, producer, queues, texts, "popped");
        inbox.expect(texts, 60);
    }

    private static void send(Run run, DefaultMQProducer producer, List<MessageQueue> queues, Set<String> texts,
        String what) throws Exception {
        for (MessageQueue queue : queues) {
            String text = what + " " + queue.getBrokerName() + " " + queue.getQueueId();
            run.sent(producer.send(new Message(queue.getTopic(), run.body(text)), queue));
            texts.add(text);
        }
    }

    /** The addresses of all masters. */
    private static Set<String> brokers(Run run, DefaultMQProducer producer) throws Exception {
        Set<String> addresses = new TreeSet<>();
        producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl().getBrokerClusterInfo(5000)
            .getBrokerAddrTable().values().forEach(broker -> addresses.add(broker.getBrokerAddrs().get(0L)));
        return addresses;
    }
}
