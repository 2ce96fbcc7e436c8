import java.util.Collections;
import java.util.Map;
import java.util.concurrent.Callable;

import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** An administrator in Java who looks after a running consumer in another language: topic and group are settings. */
final class Overseeing {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("oversee-topic", Overseeing::topic);
        scenarios.put("oversee", Overseeing::oversee);
    }

    /** One queue: a group whose members are to carry out a reset must have an offset in each. */
    private static void topic(Run run) throws Exception {
        Dialect.createTopic(run.producer(), run.setting("topic", ""), 1);
        run.routed(run.setting("topic", ""));
    }

    /**
     * Sends "asked"; when it is consumed, asks the consumer for its state, its stacks and its offsets, has it consume
     * the message once more, and sends the whole group back to its first message.
     */
    private static void oversee(Run run) throws Exception {
        String topic = run.setting("topic", "");
        String group = run.setting("group", "");
        DefaultMQAdminExt admin = Returning.admin(run);
        String client = patiently(run, "a consumer", () ->
            admin.examineConsumerConnectionInfo(group).getConnectionSet().iterator().next().getClientId());
        var connections = admin.examineConsumerConnectionInfo(group);
        var connection = connections.getConnectionSet().iterator().next();
        run.equal(1, connections.getConnectionSet().size(), "members");
        run.equal(run.setting("language", ""), connection.getLanguage().name(), "language");
        run.equal("*", connections.getSubscriptionTable().get(topic).getSubString(), "subscription");
        DefaultMQProducer producer = run.producer();
        SendResult sent = run.sent(producer.send(new Message(topic, "asked".getBytes())));
        patiently(run, "all to be consumed", () -> {
            long consumed = admin.examineConsumeStats(group).getOffsetTable().entrySet().stream()
                .filter(one -> one.getKey().getTopic().equals(topic))
                .mapToLong(one -> one.getValue().getConsumerOffset()).sum();
            return consumed == 2; // its own first message, and this one
        });

        // Go's own figures are no numbers between its first and its second sample, and it cannot write that down.
        var info = patiently(run, "its state", () -> admin.getConsumerRunningInfo(group, client, true));
        run.check(info.getJstack().contains(run.setting("stack", "")), "stacks: " + info.getJstack());
        run.check(info.getMqTable().keySet().stream().anyMatch(queue -> queue.getTopic().equals(topic)), "its queues");
        run.check(info.getSubscriptionSet().stream().anyMatch(one -> one.getTopic().equals(topic)), "its subscriptions");
        run.equal("CONSUME_PASSIVELY", info.getProperties().getProperty("PROP_CONSUME_TYPE"), "how it consumes");

        Map<String, Map<MessageQueue, Long>> status = admin.getConsumeStatus(topic, group, client);
        run.equal(Collections.singleton(client), status.keySet(), "clients with offsets");
        long offsets = status.get(client).values().stream().mapToLong(Long::longValue).sum();
        run.equal(2L, offsets, "offsets " + status);

        var result = admin.consumeMessageDirectly(group, client, topic, sent.getOffsetMsgId());
        run.equal("CR_SUCCESS", String.valueOf(result.getConsumeResult()), "result of the listener");

        Map<MessageQueue, Long> targets = patiently(run, "the reset", () -> admin.resetOffsetByTimestamp(topic, group, 0, true));
        run.equal(1, targets.size(), "queues of the reset");
        run.check(targets.values().stream().allMatch(target -> target == 0), "where the reset leads: " + targets);
    }

    /** Asks until there is an answer: members, their retry topic and their figures are known only after a while. */
    private static <T> T patiently(Run run, String what, Callable<T> ask) throws Exception {
        return run.await(what, 60, () -> {
            try {
                return ask.call();
            } catch (MQBrokerException | MQClientException notYet) {
                return null;
            }
        });
    }
}
