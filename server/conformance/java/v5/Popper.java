import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.consumer.AckCallback;
import org.apache.rocketmq.client.consumer.AckResult;
import org.apache.rocketmq.client.consumer.AckStatus;
import org.apache.rocketmq.client.consumer.PopCallback;
import org.apache.rocketmq.client.consumer.PopResult;
import org.apache.rocketmq.client.consumer.PopStatus;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.header.AckMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ChangeInvisibleTimeRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.ExtraInfoUtil;
import org.apache.rocketmq.remoting.protocol.header.PopMessageRequestHeader;

/** A client that pops by itself: each request as Apache's own code sends it. */
final class Popper {
    final Run run;
    final MQClientAPIImpl api;
    final String topic;
    final String group;
    final String broker;
    final String address;

    Popper(Run run, String topic, String group) throws Exception {
        this.run = run;
        this.topic = topic;
        this.group = run.group(group);
        DefaultMQProducer producer = run.producer();
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        this.broker = queues.get(0).getBrokerName();
        producer.getDefaultMQProducerImpl().getMqClientFactory().updateTopicRouteInfoFromNameServer(topic);
        this.address = producer.getDefaultMQProducerImpl().getMqClientFactory().findBrokerAddressInPublish(broker);
        this.api = producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl();
    }

    void mode(MessageRequestMode mode) throws Exception {
        api.setMessageRequestMode(address, topic, group, mode, 8, 5000);
    }

    PopMessageRequestHeader header(int max, long invisible, long poll) {
        PopMessageRequestHeader header = new PopMessageRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(topic);
        header.setQueueId(-1);
        header.setMaxMsgNums(max);
        header.setInvisibleTime(invisible);
        header.setPollTime(poll);
        header.setBornTime(System.currentTimeMillis());
        header.setInitMode(0);
        header.setExpType("TAG");
        header.setExp("*");
        header.setOrder(false);
        return header;
    }

    /** Pops, and answers when the broker does. */
    CompletableFuture<PopResult> ask(PopMessageRequestHeader header) throws Exception {
        CompletableFuture<PopResult> answer = new CompletableFuture<>();
        api.popMessageAsync(broker, address, header, header.getPollTime() + 10_000, new PopCallback() {
            @Override
            public void onSuccess(PopResult result) {
                answer.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        });
        return answer;
    }

    PopResult pop(int max, long invisible, long poll, boolean order, String attempt) throws Exception {
        PopMessageRequestHeader header = header(max, invisible, poll);
        header.setOrder(order);
        header.setAttemptId(attempt);
        return ask(header).get(poll + 20_000, TimeUnit.MILLISECONDS);
    }

    List<MessageExt> found(int max, long invisible, long poll) throws Exception {
        PopResult result = pop(max, invisible, poll, false, null);
        return result.getPopStatus() == PopStatus.FOUND ? result.getMsgFoundList() : Collections.emptyList();
    }

    String real(String handle) {
        return ExtraInfoUtil.getRealTopic(ExtraInfoUtil.split(handle), topic, group);
    }

    private AckCallback callback(CompletableFuture<AckResult> answer) {
        return new AckCallback() {
            @Override
            public void onSuccess(AckResult result) {
                answer.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        };
    }

    void ack(String handle) throws Exception {
        String[] parts = ExtraInfoUtil.split(handle);
        AckMessageRequestHeader header = new AckMessageRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(real(handle));
        header.setQueueId(ExtraInfoUtil.getQueueId(parts));
        header.setOffset(ExtraInfoUtil.getQueueOffset(parts));
        header.setExtraInfo(handle);
        CompletableFuture<AckResult> answer = new CompletableFuture<>();
        api.ackMessageAsync(address, 5000, callback(answer), header);
        run.equal(AckStatus.OK, answer.get(10, TimeUnit.SECONDS).getStatus(), "ack status");
    }

    void ack(List<String> handles) throws Exception {
        CompletableFuture<AckResult> answer = new CompletableFuture<>();
        api.batchAckMessageAsync(address, 5000, callback(answer), topic, group, handles);
        run.equal(AckStatus.OK, answer.get(10, TimeUnit.SECONDS).getStatus(), "batch ack status");
    }

    /** The new handle. */
    String extend(String handle, long invisible) throws Exception {
        String[] parts = ExtraInfoUtil.split(handle);
        ChangeInvisibleTimeRequestHeader header = new ChangeInvisibleTimeRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(real(handle));
        header.setQueueId(ExtraInfoUtil.getQueueId(parts));
        header.setOffset(ExtraInfoUtil.getQueueOffset(parts));
        header.setExtraInfo(handle);
        header.setInvisibleTime(invisible);
        CompletableFuture<AckResult> answer = new CompletableFuture<>();
        api.changeInvisibleTimeAsync(broker, address, header, 5000, callback(answer));
        AckResult result = answer.get(10, TimeUnit.SECONDS);
        run.equal(AckStatus.OK, result.getStatus(), "change status");
        return result.getExtraInfo();
    }

    /** How many pops of the group wait for any queue. */
    int waiting() throws Exception {
        RemotingCommand request = Refusing.ask(RequestCode.POLLING_INFO, "consumerGroup", group, "topic", topic, "queueId", "-1");
        RemotingCommand answer = api.getRemotingClient().invokeSync(address, request, 5_000);
        run.equal(0, answer.getCode(), "answer to how many wait: " + answer.getRemark());
        return Integer.parseInt(answer.getExtFields().get("pollingNum"));
    }

    static String handle(MessageExt message) {
        return message.getProperty(MessageConst.PROPERTY_POP_CK);
    }

    static Set<String> texts(List<MessageExt> messages) {
        return messages.stream().map(Inbox::text).collect(Collectors.toCollection(TreeSet::new));
    }
}
