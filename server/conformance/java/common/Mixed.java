import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** The Java half of scenarios whose other half is a client in another language: topic and group are settings. */
final class Mixed {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("mixed-request", Mixed::request);
        scenarios.put("mixed-reply", Mixed::reply);
        scenarios.put("mixed-member", Mixed::member);
        scenarios.put("mixed-send", Mixed::send);
        scenarios.put("mixed-checker", Mixed::checker);
    }

    /**
     * Asks "from Java" until somebody replies, and tells the reply; with "stop" it then ends the other half. With a
     * callback and a clock of its own: Apache's client says at once that all is well when the question is sent, without
     * a reply, and then forgets the time.
     */
    private static void request(Run run) throws Exception {
        DefaultMQProducer producer = run.producer();
        String topic = run.setting("topic", "");
        Message reply = run.await("a reply", 60, () -> {
            CompletableFuture<Message> answer = new CompletableFuture<>();
            producer.request(new Message(topic, "from Java".getBytes()), new RequestCallback() {
                @Override
                public void onSuccess(Message message) {
                    if (message != null) {
                        answer.complete(message);
                    }
                }

                @Override
                public void onException(Throwable e) {
                    answer.complete(null);
                }
            }, 5_000);
            try {
                return answer.get(5, TimeUnit.SECONDS);
            } catch (TimeoutException e) {
                return null;
            }
        });
        run.emit("reply", "body", new String(reply.getBody(), StandardCharsets.UTF_8));
        if (run.setting("stop", "").equals("true")) {
            run.sent(producer.send(new Message(topic, "stop".getBytes())));
        }
    }

    /** Replies to requests until "stop" comes. */
    private static void reply(Run run) throws Exception {
        DefaultMQProducer replier = run.producer();
        CountDownLatch stop = new CountDownLatch(1);
        DefaultMQPushConsumer consumer = run.newPush("replying");
        consumer.subscribe(run.setting("topic", ""), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                if (new String(message.getBody()).equals("stop")) {
                    stop.countDown();
                } else {
                    try {
                        byte[] body = ("Java says " + new String(message.getBody())).getBytes();
                        replier.send(MessageUtil.createReplyMessage(message, body), 5_000);
                    } catch (Exception e) {
                        run.emit("reply", "error", Run.trace(e)); // the requester asks again
                    }
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        run.check(stop.await(run.patience(60), TimeUnit.SECONDS), "the end");
    }

    /**
     * A member of a group that others share; tells what it gets, until it has "count" messages, or the topic
     * "topic-stop" has one. With "pop" it pops.
     */
    private static void member(Run run) throws Exception {
        String topic = run.setting("topic", "");
        int count = Integer.parseInt(run.setting("count", "0"));
        CountDownLatch wanted = new CountDownLatch(count);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(run.setting("group", ""));
        consumer.setNamesrvAddr(run.namesrv());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setInstanceName("member" + System.nanoTime());
        settle(run, consumer);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                tell(run, message);
                wanted.countDown();
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        if (run.setting("pop", "").equals("true")) {
            Dialect.pop(run, consumer, topic);
        }
        consumer.start();
        try {
            if (count > 0) {
                run.check(wanted.await(run.patience(60), TimeUnit.SECONDS), wanted.getCount() + " messages did not come");
            } else {
                awaitStop(run);
            }
        } finally {
            consumer.shutdown();
        }
    }

    /** In the namespace that is set, if one is. */
    private static void settle(Run run, ClientConfig client) {
        String namespace = run.setting("namespace", "");
        if (!namespace.isEmpty()) {
            client.setNamespace(namespace);
        }
    }

    /** Waits for a message in the topic "topic-stop". */
    private static void awaitStop(Run run) throws Exception {
        CountDownLatch stop = new CountDownLatch(1);
        DefaultMQPushConsumer watch = run.newPush("watching");
        watch.setInstanceName("watch" + System.nanoTime());
        watch.subscribe(run.setting("topic", "") + "-stop", "*");
        watch.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            stop.countDown();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        watch.start();
        run.check(stop.await(run.patience(120), TimeUnit.SECONDS), "the end");
    }

    /** All that a client can say of a message; its properties are "p.NAME". */
    private static void tell(Run run, MessageExt message) {
        List<Object> fields = new ArrayList<>(Arrays.asList(
            "queue", message.getQueueId(), "offset", message.getQueueOffset(), "id", message.getMsgId(),
            "at", System.currentTimeMillis(), "times", message.getReconsumeTimes(),
            "body", new String(message.getBody(), StandardCharsets.UTF_8),
            "bytes", Base64.getEncoder().encodeToString(message.getBody())));
        message.getProperties().forEach((name, value) -> {
            fields.add("p." + name);
            fields.add(value);
        });
        run.emit("got", fields.toArray());
    }

    /** Sends one of each kind, and tells their ids: with all that a message can carry, bytes, in order, delayed. */
    private static void send(Run run) throws Exception {
        DefaultMQProducer producer = run.newProducer("P");
        settle(run, producer);
        producer.start();
        String topic = run.setting("topic", "");
        Message full = new Message(topic, "TagA", "k-1 k-2", "Grüße, 世界 \uD83D\uDE80".getBytes(StandardCharsets.UTF_8));
        full.putUserProperty("region", "hz");
        full.putUserProperty("Stadt", "Köln ☕");
        run.emit("sent", "what", "full", "id", run.sent(producer.send(full)).getMsgId());
        byte[] bytes = new byte[256];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) i;
        }
        run.emit("sent", "what", "bytes", "id", run.sent(producer.send(new Message(topic, "bytes", bytes))).getMsgId());
        for (int i = 0; i < 6; i++) {
            Message step = new Message(topic, "step", ("step " + i).getBytes());
            String customer = "customer-" + i % 2;
            MessageAccessor.putProperty(step, "__SHARDINGKEY", customer);
            run.sent(producer.send(step, new SelectMessageQueueByHash(), customer));
        }
        Message delayed = new Message(topic, "delayed", "a second late".getBytes());
        delayed.setDelayTimeLevel(1);
        run.emit("sent", "what", "delayed", "id", run.sent(producer.send(delayed)).getMsgId(), "at", System.currentTimeMillis());
    }

    /** A producer of "group" that commits what says "keep" and rolls back all else, when it is asked. */
    private static void checker(Run run) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(run.setting("group", ""));
        producer.setNamesrvAddr(run.namesrv());
        producer.setInstanceName("checker" + System.nanoTime());
        producer.setHeartbeatBrokerInterval(1000);
        producer.setTransactionListener(new TransactionListener() {
            @Override
            public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
                return LocalTransactionState.UNKNOW;
            }

            @Override
            public LocalTransactionState checkLocalTransaction(MessageExt message) {
                String text = new String(message.getBody(), StandardCharsets.UTF_8);
                run.emit("asked", "body", text, "id", String.valueOf(message.getTransactionId()));
                return text.equals("keep") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
            }
        });
        run.atEnd(producer::shutdown);
        producer.start();
        // It is known to the broker once it has a route: with its first send.
        run.sent(producer.send(new Message(run.setting("topic", ""), "here".getBytes())));
        awaitStop(run);
    }
}
