import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.RemotingClient;

/** Transactions: who sees what, who is asked, and what is refused. */
final class Transactions {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("transaction-sample", Transactions::sample);
        scenarios.put("transaction-check", Transactions::check);
        scenarios.put("transaction-other-member", Transactions::otherMember);
        scenarios.put("transaction-given-up", Transactions::givenUp);
        scenarios.put("transaction-ended-once", Transactions::endedOnce);
        scenarios.put("transaction-late-decision", Transactions::lateDecision);
        scenarios.put("transaction-with-delay", Transactions::withDelay);
    }

    /** Decides by a message's text, and remembers what it was asked. */
    private static final class Listener implements TransactionListener {
        final Function<String, LocalTransactionState> first;
        final Function<String, LocalTransactionState> asked;
        final List<MessageExt> checks = new CopyOnWriteArrayList<>();

        Listener(Function<String, LocalTransactionState> first, Function<String, LocalTransactionState> asked) {
            this.first = first;
            this.asked = asked;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
            return first.apply(text(message));
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            checks.add(message);
            return asked.apply(text(message));
        }

        static String text(Message message) {
            String body = new String(message.getBody(), StandardCharsets.UTF_8);
            return body.substring(body.indexOf('|') + 1);
        }
    }

    private static TransactionMQProducer producer(Run run, String group, String instance, Listener listener) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(run.group(group));
        producer.setNamesrvAddr(run.namesrv());
        producer.setInstanceName(run.mark + instance);
        producer.setSendMsgTimeout(10_000);
        // A producer is known to the broker by its heartbeat.
        producer.setHeartbeatBrokerInterval(1000);
        producer.setTransactionListener(listener);
        run.atEnd(producer::shutdown);
        producer.start();
        return producer;
    }

    private static TransactionSendResult prepared(Run run, TransactionMQProducer producer, Message message) throws Exception {
        TransactionSendResult result = producer.sendMessageInTransaction(message, null);
        run.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status");
        run.equal(result.getMsgId(), result.getTransactionId(), "transaction id");
        return result;
    }

    /** Is asked about a second after it was stored. */
    private static Message early(Run run, String topic, String text) {
        Message message = new Message(topic, run.body(text));
        message.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "1");
        return message;
    }

    /** Section 4.6.1: TagA commits, TagB rolls back, TagC does not know and commits when it is asked. */
    private static void sample(Run run) throws Exception {
        Map<String, String> tags = new ConcurrentHashMap<>();
        Listener listener = new Listener(text -> {
            switch (tags.get(text)) {
                case "TagA":
                    return LocalTransactionState.COMMIT_MESSAGE;
                case "TagB":
                    return LocalTransactionState.ROLLBACK_MESSAGE;
                default:
                    return LocalTransactionState.UNKNOW;
            }
        }, text -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer producer = producer(run, "group6", "p", listener);
        for (int i = 0; i < 3; i++) {
            String tag = Arrays.asList("TagA", "TagB", "TagC").get(i);
            tags.put("Hello RocketMQ " + i, tag);
            TransactionSendResult result = prepared(run, producer, run.message("TransactionTopic", tag, "KEY" + i, "Hello RocketMQ " + i));
            run.equal(listener.first.apply("Hello RocketMQ " + i), result.getLocalTransactionState(), "state of " + tag);
        }
        Inbox inbox = run.collect("TransactionTopic", "*");
        Map<String, MessageExt> got = inbox.expect(new TreeSet<>(Arrays.asList("Hello RocketMQ 0", "Hello RocketMQ 2")), 40);
        run.equal("TagC", got.get("Hello RocketMQ 2").getTags(), "tag");
        run.equal("KEY2", got.get("Hello RocketMQ 2").getKeys(), "keys");
        run.equal(1, listener.checks.size(), "questions");
    }

    /** What a producer is asked is the message as it sent it, and its answer decides. */
    private static void check(Run run) throws Exception {
        String topic = run.create("Checked", 2);
        Listener listener = new Listener(text -> LocalTransactionState.UNKNOW,
            text -> text.startsWith("keep") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE);
        TransactionMQProducer producer = producer(run, "checked", "p", listener);
        Inbox inbox = run.collect(topic, "*");
        String big = "keep " + String.join("", Collections.nCopies(1000, " posthouse"));
        for (String text : Arrays.asList("keep", "drop", big)) {
            prepared(run, producer, early(run, topic, text));
        }
        Map<String, MessageExt> got = inbox.expect(new TreeSet<>(Arrays.asList("keep", big)), 20);
        run.await("three questions", 20, () -> listener.checks.size() >= 3);
        for (MessageExt asked : listener.checks) {
            run.equal(topic, asked.getTopic(), "topic of a question");
            run.equal("1", asked.getUserProperty("TRANSACTION_CHECK_TIMES"), "times asked");
            run.equal(asked.getUserProperty("UNIQ_KEY"), asked.getTransactionId(), "transaction id");
        }
        MessageExt kept = got.get("keep");
        run.equal(kept.getUserProperty("UNIQ_KEY"), kept.getTransactionId(), "transaction id");
        run.check(kept.getPreparedTransactionOffset() > 0, "prepared offset " + kept.getPreparedTransactionOffset());
    }

    /** The producer is gone before it decided: another member of its group is asked. */
    private static void otherMember(Run run) throws Exception {
        String topic = run.create("Orphans", 1);
        Listener unknown = new Listener(text -> LocalTransactionState.UNKNOW, text -> LocalTransactionState.UNKNOW);
        TransactionMQProducer first = producer(run, "members", "first", unknown);
        prepared(run, first, early(run, topic, "orphan"));
        first.shutdown();
        Listener commits = new Listener(text -> LocalTransactionState.UNKNOW, text -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer second = producer(run, "members", "second", commits);
        // It is known to the broker once it has a route: with its first send.
        run.sent(second.send(new Message(topic, run.body("plain"))));
        run.collect(topic, "*").expect(new TreeSet<>(Arrays.asList("orphan", "plain")), 40);
        run.equal(0, unknown.checks.size(), "questions to the one that is gone");
        run.check(commits.checks.size() >= 1, "the other one was not asked");
    }

    /** A transaction that nobody ever decides lies where an operator finds it. */
    private static void givenUp(Run run) throws Exception {
        String topic = run.create("Undecided", 1);
        Listener listener = new Listener(text -> LocalTransactionState.UNKNOW, text -> LocalTransactionState.UNKNOW);
        TransactionMQProducer producer = producer(run, "undecided", "p", listener);
        TransactionSendResult result = prepared(run, producer, early(run, topic, "never"));
        Inbox dead = run.collect("TRANS_CHECK_MAX_TIME_TOPIC", "*");
        MessageExt found = dead.expect(new TreeSet<>(Collections.singleton("never")), 60).get("never");
        run.equal(topic, found.getUserProperty("REAL_TOPIC"), "real topic");
        run.equal(result.getTransactionId(), found.getUserProperty("UNIQ_KEY"), "key");
        run.check(listener.checks.size() >= 2, "asked " + listener.checks.size() + " times");
        if (!run.apache()) {
            run.equal(3, listener.checks.size(), "questions");
            run.equal("3", found.getUserProperty("TRANSACTION_CHECK_TIMES"), "times asked");
        }
    }

    /** The same end twice is one end; a contrary one is told. */
    private static void endedOnce(Run run) throws Exception {
        String topic = run.create("Ended", 1);
        Listener listener = new Listener(text -> LocalTransactionState.COMMIT_MESSAGE, text -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer producer = producer(run, "ended", "p", listener);
        TransactionSendResult result = prepared(run, producer, new Message(topic, run.body("once")));
        Inbox inbox = run.collect(topic, "*");
        MessageExt once = inbox.expect(new TreeSet<>(Collections.singleton("once")), 20).get("once");
        if (run.apache()) {
            return; // stores a second commit again, and rolls back what is committed
        }
        DefaultMQProducer raw = producer;
        String broker = raw.getDefaultMQProducerImpl().getMqClientFactory().findBrokerAddressInPublish("broker-a");
        RemotingClient remoting = raw.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl().getRemotingClient();
        String offset = String.valueOf(once.getPreparedTransactionOffset());
        for (String[] end : new String[][] {{"8", "0"}, {"12", "604"}, {"8", "0"}}) {
            Refusing.expect(run, remoting, broker, Refusing.ask(37, "producerGroup", producer.getProducerGroup(), "tranStateTableOffset",
                String.valueOf(result.getQueueOffset()), "commitLogOffset", offset, "commitOrRollback", end[0],
                "fromTransactionCheck", "false", "msgId", result.getMsgId(), "transactionId", result.getTransactionId()),
                Integer.parseInt(end[1]), null);
        }
        run.sent(producer.send(new Message(topic, run.body("last"))));
        inbox.expect(new TreeSet<>(Arrays.asList("once", "last")), 20);
    }

    /**
     * A decision may come until the message's immunity time is over; then it is refused, and only an answer to a check
     * counts.
     */
    private static void lateDecision(Run run) throws Exception {
        String topic = run.create("Late", 1);
        Listener listener = new Listener(text -> LocalTransactionState.UNKNOW, text -> LocalTransactionState.UNKNOW);
        TransactionMQProducer producer = producer(run, "late", "p", listener);
        Message patient = new Message(topic, run.body("in time"));
        patient.putUserProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "600");
        decide(run, producer, half(run, producer, patient), false, 0);
        SendResult late = half(run, producer, early(run, topic, "late"));
        // Apache's transactionTimeOut, 6 s, is the least that counts for this. It was born before now.
        long over = System.currentTimeMillis() + (run.apache() ? 6_001 : 1_001);
        run.await("the immunity time", 10, () -> System.currentTimeMillis() > over);
        decide(run, producer, late, false, 604);
        Inbox inbox = run.collect(topic, "*");
        inbox.expect(Collections.singleton("in time"), 20);
        decide(run, producer, late, true, 0);
        inbox.expect(new TreeSet<>(Arrays.asList("in time", "late")), 20);
    }

    /** A half message as the client sends it, with the place in the log that its own result leaves out. */
    private static SendResult half(Run run, TransactionMQProducer producer, Message message) throws Exception {
        MessageAccessor.putProperty(message, "TRAN_MSG", "true");
        MessageAccessor.putProperty(message, "PGROUP", producer.getProducerGroup());
        return run.sent(producer.send(message));
    }

    /** Commits as the client does, but waits for the answer. */
    private static void decide(Run run, TransactionMQProducer producer, SendResult half, boolean asked, int code)
        throws Exception {
        var factory = producer.getDefaultMQProducerImpl().getMqClientFactory();
        String broker = factory.findBrokerAddressInPublish("broker-a");
        long offset = MessageDecoder.decodeMessageId(half.getOffsetMsgId()).getOffset();
        Refusing.expect(run, factory.getMQClientAPIImpl().getRemotingClient(), broker, Refusing.ask(37,
            "producerGroup", producer.getProducerGroup(), "tranStateTableOffset", String.valueOf(half.getQueueOffset()),
            "commitLogOffset", String.valueOf(offset), "commitOrRollback", "8", "fromTransactionCheck", String.valueOf(asked),
            "msgId", half.getMsgId(), "transactionId", half.getTransactionId()), code, null);
    }

    /** A delay in a transaction is refused, not dropped; the client itself takes a level away. */
    private static void withDelay(Run run) throws Exception {
        if (run.apache()) {
            return;
        }
        String topic = run.create("LaterTx", 1);
        Listener listener = new Listener(text -> LocalTransactionState.COMMIT_MESSAGE, text -> LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer producer = producer(run, "later", "p", listener);
        producer.setRetryTimesWhenSendFailed(0);
        Message message = new Message(topic, run.body("later"));
        message.putUserProperty("x", "y");
        message.getProperties().put("TIMER_DELAY_SEC", "5");
        Throwable refusal = run.refused("a delay in a transaction", () -> producer.sendMessageInTransaction(message, null));
        run.equal(13, Refusing.code(refusal), "code of " + refusal);
        prepared(run, producer, new Message(topic, run.body("now")));
        run.collect(topic, "*").expect(new TreeSet<>(Collections.singleton("now")), 20);
    }
}
