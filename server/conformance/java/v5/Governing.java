import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageQueueAssignment;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;
import org.apache.rocketmq.remoting.protocol.subscription.CustomizedRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.ExponentialRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicyType;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What an administrator decides for a group, by calls that the 4.9 client does not have. */
final class Governing {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("group-forbidden", Governing::forbidden);
        scenarios.put("group-subscriptions", Governing::subscriptions);
        scenarios.put("assignment", Governing::assignment);
        scenarios.put("retry-customized", Governing::customized);
        scenarios.put("retry-exponential", Governing::exponential);
    }

    private static DefaultMQPushConsumer start(Run run, String group, String topic, MessageListenerConcurrently listener)
        throws Exception {
        DefaultMQPushConsumer consumer = run.newPush(group);
        consumer.setInstanceName(run.mark + "_" + System.nanoTime());
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener(listener);
        consumer.start();
        return consumer;
    }

    /** A group that may not read a topic gets nothing of it, while others do; and everything once it may again (353). */
    private static void forbidden(Run run) throws Exception {
        String topic = run.create("Forbidden", 1);
        DefaultMQProducer producer = run.producer();
        DefaultMQAdminExt admin = Returning.admin(run);
        String broker = Inspecting.broker(admin);
        String group = run.group("barred");
        List<Long> came = new CopyOnWriteArrayList<>();
        Inbox barred = new Inbox(run);
        start(run, "barred", topic, (messages, context) -> {
            came.add(System.nanoTime());
            barred.add(messages);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        Inbox free = new Inbox(run);
        start(run, "free", topic, free.concurrently());
        run.sent(producer.send(new Message(topic, run.body("before"))));
        barred.take(1, 30);
        free.take(1, 30);
        run.equal(true, admin.updateAndGetGroupReadForbidden(broker, group, topic, null).getReadable(), "readable at first");
        var set = admin.updateAndGetGroupReadForbidden(broker, group, topic, false);
        run.equal(group + " " + topic + " false", set.getGroup() + " " + set.getTopic() + " " + set.getReadable(), "what was set");
        for (int i = 0; i < 3; i++) {
            run.sent(producer.send(new Message(topic, run.body("meanwhile " + i))));
            free.take(2 + i, 30);
        }
        run.equal(false, admin.updateAndGetGroupReadForbidden(broker, group, topic, null).getReadable(), "readable");
        run.equal(1, barred.size(), "messages of the group that may not read");
        long allowed = System.nanoTime();
        run.equal(true, admin.updateAndGetGroupReadForbidden(broker, group, topic, true).getReadable(), "readable again");
        barred.take(4, 60);
        run.check(came.subList(1, came.size()).stream().allMatch(at -> at > allowed), "some came before they might");
        run.equal(4, barred.size(), "messages in the end");
    }

    /** Which topics a group has consumed, and what it wants of one (343, 345). */
    private static void subscriptions(Run run) throws Exception {
        String topic = run.create("Wanted", 1);
        DefaultMQAdminExt admin = Returning.admin(run);
        Inbox inbox = new Inbox(run);
        DefaultMQPushConsumer consumer = run.newPush("wanting");
        consumer.subscribe(topic, "TagA || TagB");
        consumer.registerMessageListener(inbox.concurrently());
        consumer.setPersistConsumerOffsetInterval(200);
        consumer.start();
        run.sent(run.producer().send(run.message(topic, "TagA", "", "one")));
        inbox.take(1, 30);
        String group = run.group("wanting");
        run.await("its topics", 30, () -> admin.queryTopicsByConsumer(group).getTopicList().contains(topic));
        var wanted = admin.querySubscription(group, topic);
        run.equal("TagA || TagB", wanted.getSubString(), "what it wants");
        run.equal(new HashSet<>(Arrays.asList("TagA", "TagB")), wanted.getTagsSet(), "tags");
        run.equal("TAG", wanted.getExpressionType(), "kind of the expression");
        run.equal(null, admin.querySubscription(group, run.create("Unwanted", 1)), "of a topic it does not want");
    }

    /** Which queues a member has, as the broker shares them out, and how it gets their messages (400). */
    private static void assignment(Run run) throws Exception {
        String topic = run.create("Assigned", 4);
        Popper asking = new Popper(run, topic, "sharing");
        Inbox inbox = new Inbox(run);
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            members.add(start(run, "sharing", topic, inbox.concurrently()));
        }
        run.await("two queues each", 60, () -> members.stream().allMatch(one -> Consuming.held(one, topic).size() == 2));
        for (String strategy : Arrays.asList("AVG", "AVG_BY_CIRCLE")) {
            Set<MessageQueue> all = new HashSet<>();
            for (DefaultMQPushConsumer member : members) {
                Set<MessageQueue> own = queues(ask(asking, member, strategy, MessageModel.CLUSTERING), MessageRequestMode.PULL);
                run.equal(2, own.size(), "queues by " + strategy);
                if (strategy.equals("AVG")) {
                    run.equal(Consuming.held(member, topic), own, "what it has by itself");
                }
                all.addAll(own);
            }
            run.equal(4, all.size(), "queues of both");
        }
        DefaultMQPushConsumer one = members.get(0);
        run.equal(4, queues(ask(asking, one, "AVG", MessageModel.BROADCASTING), MessageRequestMode.PULL).size(), "queues of one that broadcasts");
        asking.mode(MessageRequestMode.POP);
        Set<MessageQueue> popped = queues(ask(asking, one, "AVG", MessageModel.CLUSTERING), MessageRequestMode.POP);
        run.check(!popped.isEmpty() && popped.stream().allMatch(queue -> queue.getTopic().equals(topic)), "queues popped: " + popped);
        asking.mode(MessageRequestMode.PULL);
        run.equal(2, queues(ask(asking, one, "AVG", MessageModel.CLUSTERING), MessageRequestMode.PULL).size(), "queues pulled again");
    }

    private static Set<MessageQueueAssignment> ask(Popper asking, DefaultMQPushConsumer member, String strategy, MessageModel model)
        throws Exception {
        String client = member.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        return asking.api.queryAssignment(asking.address, asking.topic, asking.group, client, strategy, model, 5_000);
    }

    private static Set<MessageQueue> queues(Set<MessageQueueAssignment> assigned, MessageRequestMode mode) {
        Set<MessageQueue> queues = new HashSet<>();
        for (MessageQueueAssignment one : assigned) {
            if (one.getMode() != mode) {
                throw new AssertionError("expected " + mode + ": " + one);
            }
            queues.add(one.getMessageQueue());
        }
        return queues;
    }

    /** The first two waits of the table are for none: Apache's own table of levels begins with two that no retry has. */
    private static void customized(Run run) throws Exception {
        GroupRetryPolicy policy = new GroupRetryPolicy();
        policy.setType(GroupRetryPolicyType.CUSTOMIZED);
        policy.setCustomizedRetryPolicy(new CustomizedRetryPolicy(new long[] {60_000, 60_000, 900, 2_500, 300}));
        retries(run, "customized", policy, 900, 2_500, 300, 300);
    }

    private static void exponential(Run run) throws Exception {
        GroupRetryPolicy policy = new GroupRetryPolicy();
        policy.setType(GroupRetryPolicyType.EXPONENTIAL);
        policy.setExponentialRetryPolicy(new ExponentialRetryPolicy(500, 1_800, 2));
        retries(run, "exponential", policy, 500, 1_000, 1_800, 1_800);
    }

    /** A consumer whose listener fails gets its message again after each of these waits. */
    private static void retries(Run run, String name, GroupRetryPolicy policy, long... waits) throws Exception {
        String topic = run.create("Policy", 1);
        DefaultMQAdminExt admin = Returning.admin(run);
        String broker = Inspecting.broker(admin);
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(run.group(name));
        config.setGroupRetryPolicy(policy);
        admin.createAndUpdateSubscriptionGroupConfig(broker, config);
        SubscriptionGroupConfig kept = admin.examineSubscriptionGroupConfig(broker, run.group(name));
        run.equal(policy.toString(), kept.getGroupRetryPolicy().toString(), "the policy that is kept");
        if (run.apache()) {
            return; // asks it for clients of its gRPC proxy alone: a push consumer waits by the levels
        }
        List<Long> tries = new CopyOnWriteArrayList<>();
        List<Integer> times = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = start(run, name, topic, (messages, context) -> {
            tries.add(System.currentTimeMillis());
            times.add(messages.get(0).getReconsumeTimes());
            return tries.size() > waits.length ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        // A queue of its retries that it gets only later would add to the first wait.
        String retry = "%RETRY%" + run.group(name);
        run.await("its queues", 60, () -> !Consuming.held(consumer, topic).isEmpty() && !Consuming.held(consumer, retry).isEmpty());
        run.sent(run.producer().send(new Message(topic, run.body("fails"))));
        run.await("all tries", 100, () -> tries.size() > waits.length);
        List<Integer> counted = new ArrayList<>();
        for (int i = 0; i <= waits.length; i++) {
            counted.add(i);
        }
        run.equal(counted, times, "times of the tries");
        for (int i = 0; i < waits.length; i++) {
            long waited = tries.get(i + 1) - tries.get(i);
            run.check(waited >= waits[i], "retry " + (i + 1) + " came " + waited + " ms after, not " + waits[i]);
        }
        // A client that misses a beat gets one of them late; by the levels all together would take 220 seconds.
        long took = tries.get(waits.length) - tries.get(0);
        run.check(took < 100_000, "all retries took " + took + " ms");
        run.equal(Collections.emptyList(), failures(run, name), "dead letters");
    }

    private static List<String> failures(Run run, String group) throws Exception {
        DefaultMQAdminExt admin = Returning.admin(run);
        Set<String> topics = admin.fetchAllTopicList().getTopicList();
        return topics.contains("%DLQ%" + run.group(group)) ? Arrays.asList("%DLQ%") : Collections.emptyList();
    }
}
