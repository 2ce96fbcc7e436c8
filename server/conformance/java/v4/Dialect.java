import java.util.Map;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.common.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.common.topic.TopicValidator;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What is spelled differently in the 4.9 client. */
final class Dialect {
    static void register(Map<String, Runner.Scenario> scenarios) {
    }

    static void broadcasting(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.BROADCASTING);
    }

    static void clustering(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(MessageModel.CLUSTERING);
    }

    static void createTopic(DefaultMQProducer producer, String topic, int queues) throws Exception {
        producer.createTopic(TopicValidator.AUTO_CREATE_TOPIC_KEY_TOPIC, topic, queues);
    }

    static void createGroup(DefaultMQAdminExt admin, String broker, String group) throws Exception {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(group);
        admin.createAndUpdateSubscriptionGroupConfig(broker, config);
    }

    static MessageExt view(DefaultMQProducer producer, String topic, String offsetMsgId) throws Exception {
        return producer.viewMessage(offsetMsgId);
    }

    static void pop(Run run, DefaultMQPushConsumer consumer, String topic) {
        throw new UnsupportedOperationException("the 4.9 client does not pop");
    }
}
