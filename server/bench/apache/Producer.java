import java.nio.charset.StandardCharsets;
import java.util.Arrays;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/**
 * So many threads that send over one Java client, each waiting for its answer before it sends again, until the process is
 * killed. Apache's benchmark programs do the same, but are not published as a library.
 * Arguments: name server, topic, threads, bytes of a body.
 */
public final class Producer {
    public static void main(String[] arguments) throws Exception {
        String topic = arguments[1];
        byte[] body = new byte[Integer.parseInt(arguments[3])];
        Arrays.fill(body, (byte) 'a');
        DefaultMQProducer producer = new DefaultMQProducer("bench-java");
        producer.setNamesrvAddr(arguments[0]);
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        for (int i = 0; i < Integer.parseInt(arguments[2]); i++) {
            Thread thread = new Thread(() -> send(producer, topic, body), "sender-" + i);
            thread.start();
        }
    }

    private static void send(DefaultMQProducer producer, String topic, byte[] body) {
        while (true) {
            try {
                SendStatus status = producer.send(new Message(topic, body)).getSendStatus();
                if (status != SendStatus.SEND_OK) {
                    System.err.write((status + "\n").getBytes(StandardCharsets.UTF_8));
                }
            } catch (Exception failed) {
                failed.printStackTrace();
            }
        }
    }
}
