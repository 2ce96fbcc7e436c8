import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What needs settings of a server: traces, and topics whose order of queues the name servers know. */
final class Watching {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("trace", Watching::trace);
        scenarios.put("order-topic", Watching::orderTopic);
    }

    /** A producer and a consumer that write traces. */
    private static void trace(Run run) throws Exception {
        String topic = run.create("Traced", 1);
        DefaultMQProducer producer = new DefaultMQProducer(run.group("Tracing"), null, true, null);
        producer.setNamesrvAddr(run.namesrv());
        producer.setSendMsgTimeout(10_000);
        producer.start();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(run.group("Traced"), null,
            new AllocateMessageQueueAveragely(), true, null);
        consumer.setNamesrvAddr(run.namesrv());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "*");
        CountDownLatch read = new CountDownLatch(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            read.countDown();
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        SendResult sent = run.sent(producer.send(new Message(topic, "TagA", "key", run.body("traced"))));
        run.check(read.await(run.patience(30), TimeUnit.SECONDS), "the message did not come");
        // What is not written when a client ends is given half a second, and then lost.
        DefaultMQAdminExt admin = Returning.admin(run);
        run.await("the traces", 60, () -> {
            String written = written(admin, sent.getMsgId());
            return written.contains("Pub") && written.contains("SubAfter");
        });
        producer.shutdown();
        consumer.shutdown();
        run.emit("traced", "msgId", sent.getMsgId(), "producer", run.group("Tracing"), "consumer", run.group("Traced"));
    }

    /** What was written of a message so far. */
    private static String written(DefaultMQAdminExt admin, String id) throws Exception {
        StringBuilder all = new StringBuilder();
        try {
            for (MessageExt trace : admin.queryMessage("RMQ_SYS_TRACE_TOPIC", id, 32, 0, Long.MAX_VALUE).getMessageList()) {
                all.append(Inbox.text(trace));
            }
        } catch (MQClientException nothing) {
            // Not found yet.
        }
        return all.toString();
    }

    /**
     * The name servers say which queues of a topic producers use, in which order; its consumers' retry topic is ordered
     * too. Needs orderMessageEnable=true.
     */
    private static void orderTopic(Run run) throws Exception {
        DefaultMQAdminExt admin = Returning.admin(run);
        DefaultMQProducer producer = run.producer();
        String broker = admin.examineBrokerClusterInfo().getBrokerAddrTable().get("broker-a").getBrokerAddrs().get(0L);
        String topic = run.topic("Ordered");
        TopicConfig config = new TopicConfig(topic);
        config.setReadQueueNums(4);
        config.setWriteQueueNums(4);
        config.setOrder(true);
        admin.createAndUpdateTopicConfig(broker, config);
        run.equal(4, run.routed(topic).size(), "queues without an order");
        admin.createOrUpdateOrderConf(topic, "broker-a:2", true);
        run.equal("broker-a:2", admin.examineTopicRouteInfo(topic).getOrderTopicConf(), "the order in the route");
        List<MessageQueue> queues = run.await("the order", 30, () -> {
            List<MessageQueue> ordered = run.routed(topic);
            return ordered.size() == 2 ? ordered : null;
        });
        Map<Integer, StringBuilder> seen = new HashMap<>();
        Set<String> all = Collections.synchronizedSet(new TreeSet<>());
        DefaultMQPushConsumer consumer = run.newPush("ordered");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            messages.forEach(message -> {
                synchronized (seen) {
                    seen.computeIfAbsent(message.getQueueId(), queue -> new StringBuilder()).append(Inbox.text(message));
                }
                all.add(message.getMsgId());
            });
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        for (int i = 0; i < 10; i++) {
            run.sent(producer.send(new Message(topic, run.body(String.valueOf(i))), queues.get(i % 2)));
        }
        run.await("ten messages", 60, () -> all.size() == 10);
        run.equal("02468", seen.get(0).toString(), "order in queue 0");
        run.equal("13579", seen.get(1).toString(), "order in queue 1");
        String retry = "%RETRY%" + run.group("ordered");
        TopicConfig made = admin.examineTopicConfig(broker, retry);
        run.check(made == null || made.isOrder(), "the retry topic is not ordered: " + made); // 4.9 does not ask
        admin.deleteKvConfig("ORDER_TOPIC_CONFIG", topic);
        run.await("the order to be gone", 30, () -> run.routed(topic).size() == 4);
    }
}
