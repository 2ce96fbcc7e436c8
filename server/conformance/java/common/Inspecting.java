import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What an administrator's program asks a broker about groups, for which mqadmin has no command, or one that shows less. */
final class Inspecting {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("correction-offset", Inspecting::correctionOffset);
        scenarios.put("stats-of-all-groups", Inspecting::statsOfAllGroups);
    }

    static String broker(DefaultMQAdminExt admin) throws Exception {
        return admin.examineBrokerClusterInfo().getBrokerAddrTable().get("broker-a").getBrokerAddrs().get(0L);
    }

    /** A topic of one queue with five messages, and two groups: one has consumed two of them, the other all. */
    private static final class Progress {
        final DefaultMQAdminExt admin;
        final DefaultMQProducer producer;
        final String broker;
        final MessageQueue queue;
        final String slow;
        final String fast;

        Progress(Run run, String name) throws Exception {
            admin = Returning.admin(run);
            producer = run.producer();
            broker = broker(admin);
            queue = new MessageQueue(run.create(name, 1), "broker-a", 0);
            for (int i = 0; i < 5; i++) {
                run.sent(producer.send(new Message(queue.getTopic(), run.body("n" + i))));
            }
            slow = group(run, "slow", 2);
            fast = group(run, "fast", 5);
        }

        private String group(Run run, String name, long offset) throws Exception {
            String group = run.group(name);
            Dialect.createGroup(admin, broker, group);
            admin.updateConsumeOffset(broker, group, queue, offset);
            return group;
        }
    }

    /** The lowest offset of all groups, as far as a group may follow it (308). */
    private static void correctionOffset(Run run) throws Exception {
        Progress progress = new Progress(run, "Corrected");
        MQClientAPIImpl api = progress.producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
        String topic = progress.queue.getTopic();
        for (String compared : new String[] {progress.fast, progress.slow, run.group("none")}) {
            Map<Integer, Long> lowest = api.queryCorrectionOffset(progress.broker, topic, compared, Collections.emptySet(), 5_000);
            run.equal(Collections.singletonMap(0, 2L), lowest, "lowest, for " + compared);
        }
        // Last: Apache forgets the offsets of the groups that are left out.
        Set<String> without = Collections.singleton(progress.slow);
        Map<Integer, Long> rest = api.queryCorrectionOffset(progress.broker, topic, progress.fast, without, 5_000);
        run.equal(Collections.singletonMap(0, 5L), rest, "lowest without the slow group");
        if (!run.apache()) {
            Map<Integer, Long> ahead = api.queryCorrectionOffset(progress.broker, topic, progress.slow, without, 5_000);
            run.equal(Collections.singletonMap(0, Long.MAX_VALUE), ahead, "lowest of the others, for one behind them");
        }
        Map<Integer, Long> none = api.queryCorrectionOffset(progress.broker, run.topic("NoSuch"), progress.fast, Collections.emptySet(), 5_000);
        run.equal(Collections.emptyMap(), none, "of no topic");
    }

    /** How far each group of a broker is (317), and the same of order topics alone. */
    private static void statsOfAllGroups(Run run) throws Exception {
        Progress progress = new Progress(run, "Lagging");
        for (String[] one : new String[][] {{progress.slow, "2", "3"}, {progress.fast, "5", "0"}}) {
            var all = progress.admin.fetchConsumeStatsInBroker(progress.broker, false, 10_000);
            run.equal(progress.broker, all.getBrokerAddr(), "broker");
            run.check(all.getTotalDiff() >= 3, "lag of all groups: " + all.getTotalDiff());
            var stats = of(all.getConsumeStatsList(), one[0]);
            run.equal(1, stats.size(), "topics of " + one[0]);
            run.equal(Collections.singleton(progress.queue), stats.get(0).getOffsetTable().keySet(), "queues");
            var offsets = stats.get(0).getOffsetTable().get(progress.queue);
            run.equal(5L, offsets.getBrokerOffset(), "messages");
            run.equal(Long.parseLong(one[1]), offsets.getConsumerOffset(), "consumed by " + one[0]);
            run.check(offsets.getLastTimestamp() > 0, "time of the last one consumed");
            run.equal(Long.parseLong(one[2]), stats.get(0).computeTotalDiff(), "lag of " + one[0]);
        }
        var ordered = progress.admin.fetchConsumeStatsInBroker(progress.broker, true, 10_000);
        run.check(of(ordered.getConsumeStatsList(), progress.slow).isEmpty(), "a topic without order among those with one");
    }

    private static <T> List<T> of(List<Map<String, List<T>>> all, String group) {
        for (Map<String, List<T>> one : all) {
            if (one.containsKey(group)) {
                return one.get(group);
            }
        }
        throw new AssertionError(group + " is not among " + new TreeSet<>(all.stream().flatMap(one -> one.keySet().stream())
            .collect(java.util.stream.Collectors.toList())));
    }
}
