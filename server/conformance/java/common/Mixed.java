import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** The Java half of scenarios whose other half is a client in another language: topic and group are settings. */
final class Mixed {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("mixed-request", Mixed::request);
        scenarios.put("mixed-reply", Mixed::reply);
        scenarios.put("mixed-member", Mixed::member);
    }

    /** Asks "from Java" until somebody replies, and tells the reply. */
    private static void request(Run run) throws Exception {
        DefaultMQProducer producer = run.producer();
        String topic = run.setting("topic", "");
        Message reply = run.await("a reply", 60, () -> {
            try {
                return producer.request(new Message(topic, "from Java".getBytes()), 5_000);
            } catch (RequestTimeoutException e) {
                return null;
            }
        });
        run.emit("reply", "body", new String(reply.getBody()));
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

    /** A member of a group that others share; tells what it gets, until the topic "topic-stop" has a message. */
    private static void member(Run run) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(run.setting("group", ""));
        consumer.setNamesrvAddr(run.namesrv());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setInstanceName("member" + System.nanoTime());
        consumer.subscribe(run.setting("topic", ""), "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                run.emit("got", "queue", message.getQueueId(), "body", new String(message.getBody()));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        CountDownLatch stop = new CountDownLatch(1);
        DefaultMQPushConsumer watch = run.newPush("watching");
        watch.setInstanceName("watch" + System.nanoTime());
        watch.subscribe(run.setting("topic", "") + "-stop", "*");
        watch.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            stop.countDown();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        watch.start();
        try {
            run.check(stop.await(run.patience(120), TimeUnit.SECONDS), "the end");
        } finally {
            consumer.shutdown();
        }
    }
}
