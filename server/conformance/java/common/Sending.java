import java.util.Arrays;
import java.util.Collections;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;

/** Sends beyond the tutorial's. */
final class Sending {
    static void register(Map<String, Runner.Scenario> scenarios) {
        scenarios.put("compressed", Sending::compressed);
        scenarios.put("big-message", Sending::bigMessage);
        scenarios.put("vip-channel", Sending::vipChannel);
        scenarios.put("properties", Sending::properties);
        scenarios.put("chosen-queue", Sending::chosenQueue);
        scenarios.put("no-wait", Sending::noWait);
        scenarios.put("through", Sending::through);
    }

    /** A body over 4 KiB is packed by the client and stored as it came. */
    private static void compressed(Run run) throws Exception {
        String topic = run.create("Zip", 1);
        DefaultMQProducer producer = run.producer();
        String text = String.join("", Collections.nCopies(3000, "posthouse "));
        run.sent(producer.send(new Message(topic, run.body(text))));
        MessageExt message = run.collect(topic, "*").expect(Collections.singleton(text), 15).get(text);
        // The 5.x client clears the first bit when it unpacks, and leaves the three that name the codec.
        int packed = MessageSysFlag.COMPRESSED_FLAG | 0x700;
        run.check((message.getSysFlag() & packed) != 0, "sysFlag " + message.getSysFlag());
        run.check(message.getStoreSize() < 5000, "stored size " + message.getStoreSize());
    }

    /** A body of exactly 4 MiB goes through, in and out. */
    private static void bigMessage(Run run) throws Exception {
        String topic = run.create("Big", 1);
        DefaultMQProducer producer = run.newProducer("P_big");
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        byte[] body = new byte[4 << 20];
        new Random(7).nextBytes(body);
        byte[] mark = run.body("big");
        System.arraycopy(mark, 0, body, 0, mark.length);
        run.sent(producer.send(new Message(topic, body)));
        run.sent(producer.send(new Message(topic, run.body("after it"))));
        for (MessageExt message : run.collect(topic, "*").take(2, 20)) {
            run.check(message.getBody().length < 100 || Arrays.equals(body, message.getBody()), "body differs");
        }
    }

    /** The VIP channel is the main port minus two. */
    private static void vipChannel(Run run) throws Exception {
        String topic = run.create("Vip", 2);
        DefaultMQProducer producer = run.newProducer("P_vip");
        producer.setVipChannelEnabled(true);
        producer.start();
        TreeSet<String> texts = new TreeSet<>();
        for (int i = 0; i < 10; i++) {
            run.sent(producer.send(new Message(topic, run.body("vip " + i))));
            texts.add("vip " + i);
        }
        run.collect(topic, "*").expect(texts, 15);
    }

    /** What a producer says about a message is what a consumer reads, whatever the broker keeps beside it. */
    private static void properties(Run run) throws Exception {
        String topic = run.create("Props", 1);
        DefaultMQProducer producer = run.producer();
        Message message = run.message(topic, "TagP", "k1 k2", "with properties");
        message.putUserProperty("a", "10");
        message.putUserProperty("中文", "值");
        message.putUserProperty("zzz_last", "the last one");
        message.setBuyerId("buyer");
        message.setFlag(77);
        SendResult sent = run.sent(producer.send(message));
        MessageExt got = run.collect(topic, "*").expect(Collections.singleton("with properties"), 15).get("with properties");
        run.equal("10", got.getUserProperty("a"), "property a");
        run.equal("值", got.getUserProperty("中文"), "property in Chinese");
        run.equal("the last one", got.getUserProperty("zzz_last"), "the last property");
        run.equal("buyer", got.getBuyerId(), "buyer");
        run.equal("TagP", got.getTags(), "tags");
        run.equal("k1 k2", got.getKeys(), "keys");
        run.equal(77, got.getFlag(), "flag");
        run.equal(sent.getMsgId(), got.getMsgId(), "message id");
        run.equal(sent.getQueueOffset(), got.getQueueOffset(), "queue offset");
        run.equal("true", got.getProperty("TRACE_ON"), "TRACE_ON");
        run.equal("DefaultRegion", got.getProperty("MSG_REGION"), "MSG_REGION");
        if (!run.apache()) {
            // Apache appends a checksum property only if told to; Posthouse always does, and it must not hurt.
            run.check(got.getProperty("__CRC32#") != null, "no checksum property in " + got.getProperties());
        }
    }

    /** A queue named by the sender is the queue it gets. */
    private static void chosenQueue(Run run) throws Exception {
        String topic = run.create("Chosen", 4);
        DefaultMQProducer producer = run.producer();
        for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
            SendResult first = run.sent(producer.send(new Message(topic, run.body("1")), queue));
            SendResult second = run.sent(producer.send(new Message(topic, run.body("2")), queue));
            run.equal(queue, first.getMessageQueue(), "queue of the answer");
            run.equal(0L, first.getQueueOffset(), "first offset of a queue");
            run.equal(1L, second.getQueueOffset(), "second offset of a queue");
        }
    }

    /** Messages that need not wait for the disk are answered all the same. */
    private static void noWait(Run run) throws Exception {
        String topic = run.create("NoWait", 2);
        DefaultMQProducer producer = run.producer();
        TreeSet<String> texts = new TreeSet<>();
        for (int i = 0; i < 10; i++) {
            Message message = new Message(topic, run.body("no wait " + i));
            message.setWaitStoreMsgOK(false);
            run.sent(producer.send(message));
            texts.add("no wait " + i);
        }
        run.collect(topic, "*").expect(texts, 15);
    }

    /** In and out again through whatever name server and broker the run was given; used across implementations. */
    private static void through(Run run) throws Exception {
        String topic = run.topic("Through");
        DefaultMQProducer producer = run.producer();
        TreeSet<String> texts = new TreeSet<>();
        for (int i = 0; i < 50; i++) {
            SendResult result = run.sent(producer.send(run.message(topic, "TagA", "k" + i, "through " + i)));
            run.equal(run.setting("broker", "broker-a"), result.getMessageQueue().getBrokerName(), "broker");
            texts.add("through " + i);
        }
        run.collect(topic, "TagA").expect(texts, 20);
    }
}
