import java.util.Collections;
import java.util.Map;
import java.util.TreeSet;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.compression.CompressionType;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;
import org.apache.rocketmq.common.topic.TopicValidator;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What is spelled differently in the 5.x client, and the scenarios of what only that client has. */
final class Dialect {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("compression-codecs", Dialect::codecs);
        scenarios.put("heartbeat-v2", Dialect::heartbeatV2);
        Popping.register(scenarios);
        Timing.register(scenarios);
        Waiting.register(scenarios);
        Governing.register(scenarios);
        Rewinding.register(scenarios);
    }

    /** LZ4, ZSTD and zlib bodies arrive as they were, and the flag says what they were packed with. */
    private static void codecs(Run run) throws Exception {
        String topic = run.create("Codecs", 2);
        Inbox inbox = run.collect(topic, "*");
        TreeSet<String> texts = new TreeSet<>();
        for (CompressionType type : CompressionType.values()) {
            DefaultMQProducer producer = run.newProducer("P_" + type);
            producer.setCompressType(type);
            producer.start();
            String text = type + String.join("", Collections.nCopies(2000, " posthouse"));
            run.sent(producer.send(new Message(topic, run.body(text))));
            texts.add(text);
        }
        for (MessageExt message : inbox.expect(texts, 15).values()) {
            int compressed = message.getSysFlag() & MessageSysFlag.COMPRESSED_FLAG;
            run.check(message.getStoreSize() < 5000, "not stored compressed: " + message.getStoreSize());
            run.check(compressed != 0 || message.getBody().length > 10_000, "sysFlag " + message.getSysFlag());
        }
    }

    /** With abridged heartbeats a consumer still gets its messages, also of a topic it subscribes to later. */
    private static void heartbeatV2(Run run) throws Exception {
        String first = run.create("First", 2);
        String second = run.create("Second", 2);
        DefaultMQProducer producer = run.producer();
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("C");
        consumer.setUseHeartbeatV2(true);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.subscribe(first, "A || B");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.start();
        run.sent(producer.send(run.message(first, "A", "", "1")));
        run.sent(producer.send(run.message(first, "C", "", "filtered out")));
        inbox.take(1, 15);
        consumer.subscribe(second, "X");
        run.sent(producer.send(run.message(second, "X", "", "2")));
        run.sent(producer.send(run.message(second, "Y", "", "filtered out")));
        inbox.take(2, 30);
        run.sent(producer.send(run.message(first, "B", "", "3")));
        inbox.expect(new TreeSet<>(java.util.Arrays.asList("1", "2", "3")), 15);
    }

    static void broadcasting(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    static void clustering(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.CLUSTERING);
    }

    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws Exception {
        producer.createTopic(TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC, topic, queues, Collections.emptyMap());
    }

    static void createGroup(DefaultMQAdminExt admin, String broker, String group) throws Exception {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(group);
        admin.createAndUpdateSubscriptionGroupConfig(broker, config);
    }

    static MessageExt view(DefaultMQProducer producer, String topic, String offsetMsgId) throws Exception {
        return producer.viewMessage(topic, offsetMsgId);
    }

    /** Makes a consumer pop; every broker must know that its group does. */
    static void pop(Run run, DefaultMQPushConsumer consumer, String topic) throws Exception {
        DefaultMQAdminExt admin = Returning.admin(run);
        for (BrokerData broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
            admin.setMessageRequestMode(broker.getBrokerAddrs().get(0L), topic, consumer.getConsumerGroup(),
                MessageRequestMode.POP, 8, 5_000);
        }
        consumer.setClientRebalance(false);
    }
}
