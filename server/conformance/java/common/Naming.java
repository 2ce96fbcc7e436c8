import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Clients in namespaces: the same names mean different topics and groups, and nobody sees the prefix. */
final class Naming {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("namespaces", Naming::apart);
    }

    /** What one namespace sends, the other does not get; a retry stays inside; outside, the prefix is part of the name. */
    private static void apart(Run run) throws Exception {
        String topic = run.topic("Room");
        for (String space : new String[] {"left", "right"}) {
            Dialect.createTopic(run.producer(), space + "%" + topic, 1);
            run.routed(space + "%" + topic);
        }
        List<MessageExt> left = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = run.newPush("guest");
        consumer.setNamespace("left");
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            left.addAll(messages);
            context.setDelayLevelWhenNextConsume(1);
            return messages.get(0).getReconsumeTimes() == 0
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        for (String space : new String[] {"left", "right"}) {
            DefaultMQProducer producer = run.newProducer("host");
            producer.setNamespace(space);
            producer.start();
            SendResult sent = run.sent(producer.send(new Message(topic, run.body("in " + space))));
            run.equal(topic, sent.getMessageQueue().getTopic(), "the topic that a send shows");
        }
        run.await("the message and its retry", 60, () -> left.size() >= 2);
        for (MessageExt message : left) {
            run.equal("in left", Inbox.text(message), "a message of the namespace");
            run.equal(topic, message.getTopic(), "the topic that a consumer shows");
        }
        run.equal(1, left.get(1).getReconsumeTimes(), "times of the second");
        Inbox outside = run.collect("right%" + topic, "*");
        MessageExt seen = outside.expect(Collections.singleton("in right"), 20).get("in right");
        run.equal("right%" + topic, seen.getTopic(), "the topic without a namespace");
        run.routed("%RETRY%left%" + run.group("guest"));
    }
}
