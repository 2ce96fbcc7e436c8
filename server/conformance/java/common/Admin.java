import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Base64;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** mqadmin's commands in this JVM, and the clients whose traces they show. */
final class Admin {
    static void register(Map<String, Runner.Scenario> scenarios) throws IOException {
        // The 4.9 tool wants an installation's folder with settings for its log; an empty one will do.
        Path conf = Files.createDirectories(Paths.get(System.getProperty("user.home"), "conf"));
        Files.write(conf.resolve("logback_tools.xml"), "<configuration/>".getBytes(StandardCharsets.UTF_8));
        System.setProperty("rocketmq.home.dir", conf.getParent().toString());
        scenarios.put("mqadmin", Admin::mqadmin);
        scenarios.put("holder", Admin::holder);
    }

    /** Runs one command; its arguments are base64 of a list separated by newlines. One at a time: it takes the console. */
    private static synchronized void mqadmin(Run run) throws Exception {
        String line = new String(Base64.getDecoder().decode(run.setting("arguments", "")), StandardCharsets.UTF_8);
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        PrintStream out = System.out;
        PrintStream err = System.err;
        PrintStream both = new PrintStream(text, true, StandardCharsets.UTF_8);
        System.setOut(both);
        System.setErr(both);
        try {
            MQAdminStartup.main0(line.isEmpty() ? new String[0] : line.split("\n"), null);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        run.emit("output", "text", text.toString(StandardCharsets.UTF_8));
    }

    /**
     * A producer and a consumer that stay until the process ends: eight messages over four queues, all read and
     * committed. Names, bodies and the client id are always the same, for what mqadmin prints of them.
     */
    private static void holder(Run run) throws Exception {
        String topic = "AdminTopic";
        DefaultMQProducer producer = new DefaultMQProducer("AdminProducerGroup");
        producer.setNamesrvAddr(run.namesrv());
        producer.setClientIP("127.0.0.1");
        producer.setInstanceName("holder");
        producer.setSendMsgTimeout(10_000);
        producer.start();
        Dialect.createTopic(producer, topic, 4);
        run.routed(topic);
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer("AdminGroup");
        consumer.setNamesrvAddr(run.namesrv());
        consumer.setClientIP("127.0.0.1");
        consumer.setInstanceName("holder");
        consumer.setPersistConsumerOffsetInterval(200);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(topic, "TagA || TagB");
        CountDownLatch read = new CountDownLatch(8);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> read.countDown());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        for (int i = 0; i < 8; i++) {
            byte[] body = ("admin body " + i).getBytes(StandardCharsets.UTF_8);
            Message message = new Message(topic, i % 2 == 0 ? "TagA" : "TagB", "admin-key-" + i, body);
            SendResult sent = run.sent(producer.send(message, new MessageQueue(topic, "broker-a", i % 4)));
            run.emit("sent", "n", i, "msgId", sent.getMsgId(), "offsetMsgId", sent.getOffsetMsgId());
        }
        // A Java 5 consumer whose start meets the heartbeat of its instance's other members gives its own up, and is
        // known only after the next one: 30 s later.
        run.check(read.await(120, TimeUnit.SECONDS), "the holder read too little: " + read.getCount());
        for (int queue = 0; queue < 4; queue++) {
            MessageQueue one = new MessageQueue(topic, "broker-a", queue);
            run.await("the offset of " + one + " to be committed", 60, () -> consumer.getDefaultMQPushConsumerImpl()
                .getOffsetStore().readOffset(one, ReadOffsetType.READ_FROM_STORE) == 2);
        }
    }
}
