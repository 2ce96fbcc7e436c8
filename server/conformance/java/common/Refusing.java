import java.util.HashMap;
import java.util.Map;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** What must not work, and the code and text by which a client is told. */
final class Refusing {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("too-big", Refusing::tooBig);
        scenarios.put("properties-too-big", Refusing::propertiesTooBig);
        scenarios.put("illegal-requests", Refusing::illegalRequests);
        scenarios.put("unknown-topic", Refusing::unknownTopic);
    }

    static int code(Throwable e) {
        for (; e != null; e = e.getCause()) {
            if (e instanceof MQBrokerException) {
                return ((MQBrokerException) e).getResponseCode();
            }
            if (e instanceof MQClientException && ((MQClientException) e).getResponseCode() >= 0
                && !(e.getCause() instanceof MQBrokerException)) {
                return ((MQClientException) e).getResponseCode();
            }
        }
        return Integer.MIN_VALUE;
    }

    static String said(Throwable e) {
        StringBuilder text = new StringBuilder();
        for (; e != null; e = e.getCause()) {
            text.append(e.getMessage()).append('\n');
        }
        return text.toString();
    }

    /** A body over 4 MiB that the client let through is 13, and the connection lives on. */
    private static void tooBig(Run run) throws Exception {
        String topic = run.create("TooBig", 1);
        DefaultMQProducer producer = run.newProducer("P_bigger");
        producer.setMaxMessageSize(16 << 20);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        Throwable refusal = run.refused("4 MiB and a byte", () -> producer.send(new Message(topic, new byte[(4 << 20) + 1])));
        run.equal(13, code(refusal), "code of " + refusal);
        run.sent(producer.send(new Message(topic, run.body("small"))));
    }

    private static void propertiesTooBig(Run run) throws Exception {
        String topic = run.create("Wordy", 1);
        DefaultMQProducer producer = run.newProducer("P_wordy");
        producer.setRetryTimesWhenSendFailed(0);
        producer.start();
        char[] much = new char[33_000];
        java.util.Arrays.fill(much, 'p');
        Message message = new Message(topic, run.body("x"));
        message.putUserProperty("much", new String(much));
        Throwable refusal = run.refused("33,000 bytes of properties", () -> producer.send(message));
        run.equal(13, code(refusal), "code of " + refusal);
        run.sent(producer.send(new Message(topic, run.body("small"))));
    }

    /** Requests that no client would let through, sent past its checks. */
    private static void illegalRequests(Run run) throws Exception {
        String topic = run.create("Illegal", 2);
        DefaultMQProducer producer = run.producer();
        run.sent(producer.send(new Message(topic, run.body("opens the connection"))));
        String broker = producer.getDefaultMQProducerImpl().getMqClientFactory()
            .findBrokerAddressInPublish("broker-a");
        RemotingClient remoting = producer.getDefaultMQProducerImpl().getMqClientFactory()
            .getMQClientAPIImpl().getRemotingClient();
        expect(run, remoting, broker, send(topic, 0, "KEYS\u0001k\u0002", new byte[] {1}), 0, null);
        expect(run, remoting, broker, send("../../x", 0, "", new byte[] {1}), 29, "illegal");
        expect(run, remoting, broker, send("t".repeat(130), 0, "", new byte[] {1}), 29, "longer");
        expect(run, remoting, broker, send("SCHEDULE_TOPIC_XXXX", 0, "", new byte[] {1}), 16, "");
        expect(run, remoting, broker, send(topic, 99, "", new byte[] {1}), 29, "");
        expect(run, remoting, broker, pull(topic, 99, 0), 29, "");
        expect(run, remoting, broker, pull("NoSuchTopic", 0, 0), 17, "not exist");
        expect(run, remoting, broker, ask(31, "topic", topic, "queueId", "0"), 0, null);
        expect(run, remoting, broker, ask(14, "consumerGroup", run.group("none"), "topic", run.create("Empty", 1), "queueId", "0"), 22, "");
        expect(run, remoting, broker, ask(9999), 3, "request type 9999 not supported");
        expect(run, remoting, broker, ask(203, "consumerGroup", run.group("none")), 206, "");
    }

    static void expect(Run run, RemotingClient remoting, String broker, RemotingCommand request, int code, String remark)
        throws Exception {
        RemotingCommand answer = remoting.invokeSync(broker, request, 5_000);
        String what = "answer to " + request.getCode() + " " + request.getExtFields();
        run.equal(code, answer.getCode(), what + ", remark " + answer.getRemark());
        if (remark != null) {
            run.check(answer.getRemark() != null && answer.getRemark().contains(remark), what + ": " + answer.getRemark());
        }
    }

    static RemotingCommand ask(int code, String... fields) {
        RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
        HashMap<String, String> map = new HashMap<>();
        for (int i = 0; i < fields.length; i += 2) {
            map.put(fields[i], fields[i + 1]);
        }
        request.setExtFields(map);
        return request;
    }

    private static RemotingCommand send(String topic, int queue, String properties, byte[] body) {
        RemotingCommand request = ask(310, "a", "P_raw", "b", topic, "c", "TBW102", "d", "4", "e", String.valueOf(queue),
            "f", "0", "g", String.valueOf(System.currentTimeMillis()), "h", "0", "i", properties, "j", "0", "k", "false",
            "m", "false");
        request.setBody(body);
        return request;
    }

    private static RemotingCommand pull(String topic, int queue, long offset) {
        return ask(11, "consumerGroup", "G_raw", "topic", topic, "queueId", String.valueOf(queue), "queueOffset",
            String.valueOf(offset), "maxMsgNums", "32", "sysFlag", "4", "commitOffset", "0", "suspendTimeoutMillis", "0",
            "subscription", "*", "subVersion", "0", "expressionType", "TAG");
    }

    /** A topic that exists nowhere, with no topic to copy: the client says so itself. */
    private static void unknownTopic(Run run) throws Exception {
        DefaultMQPushConsumer consumer = run.newPush("nowhere");
        consumer.subscribe(run.topic("Nowhere"), "*");
        consumer.registerMessageListener(new Inbox(run).concurrently());
        consumer.start();
        run.refused("the queues of a topic that is not there", () -> consumer.fetchSubscribeMessageQueues(run.topic("Nowhere")));
        DefaultMQProducer producer = run.producer();
        run.refused("a queue of another broker", () -> producer.send(new Message(run.topic("Nowhere"), new byte[] {1}),
            new MessageQueue(run.topic("Nowhere"), "broker-z", 0)));
    }
}
