import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** What consumers of one run received, in order of arrival; messages of other runs are left out. */
final class Inbox {
    private final Run run;
    private final List<MessageExt> messages = new ArrayList<>();

    Inbox(Run run) {
        this.run = run;
    }

    MessageListenerConcurrently concurrently() {
        return (batch, context) -> {
            add(batch);
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    synchronized void add(List<MessageExt> batch) {
        for (MessageExt message : batch) {
            if (new String(message.getBody(), StandardCharsets.UTF_8).startsWith(run.mark + "|")) {
                messages.add(message);
            }
        }
        notifyAll();
    }

    /** Waits for at least n messages; returns all that are there. */
    synchronized List<MessageExt> take(int n, int limit) throws InterruptedException {
        int seconds = run.patience(limit);
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (messages.size() < n) {
            long left = (end - System.nanoTime()) / 1_000_000;
            if (left <= 0) {
                throw new AssertionError("waited " + seconds + " s for " + n + " messages, got " + messages.size() + ": "
                    + messages.stream().map(Inbox::text).limit(50).collect(Collectors.toList()));
            }
            wait(left);
        }
        return new ArrayList<>(messages);
    }

    synchronized int size() {
        return messages.size();
    }

    /** Waits for exactly these texts, each once. */
    Map<String, MessageExt> expect(Set<String> texts, int seconds) throws InterruptedException {
        List<MessageExt> got = take(texts.size(), seconds);
        Map<String, MessageExt> byText = new HashMap<>();
        for (MessageExt message : got) {
            MessageExt twice = byText.put(text(message), message);
            run.check(twice == null, "received twice: " + message + " and " + twice);
        }
        run.equal(new TreeSet<>(texts), new TreeSet<>(byText.keySet()), "received texts");
        return byText;
    }

    static String text(MessageExt message) {
        String body = new String(message.getBody(), StandardCharsets.UTF_8);
        return body.substring(body.indexOf('|') + 1);
    }
}
