package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const patience = 60 * time.Second

func numbered(name string, n int) []string {
	texts := []string{}
	for i := 0; i < n; i++ {
		texts = append(texts, fmt.Sprintf("%s %d", name, i))
	}
	return texts
}

func syncSend(r *run) {
	topic := r.topic("GoSync")
	p := r.producer()
	texts := numbered("sync", 100)
	for _, text := range texts {
		result := r.send(p, r.message(topic, text).WithTag("TagA").WithKeys([]string{text}))
		r.equal("broker-a", result.MessageQueue.BrokerName, "broker")
		r.check(result.MsgID != "" && result.OffsetMsgID != "", "ids")
	}
	r.collect(topic, "TagA").expect(texts, patience)
}

func asyncSend(r *run) {
	topic := r.topic("GoAsync")
	p := r.producer()
	texts := numbered("async", 100)
	r.send(p, r.message(topic, "first"))
	var answered sync.WaitGroup
	var failure atomic.Value
	for _, text := range texts {
		answered.Add(1)
		r.fine(p.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
			if err != nil {
				failure.Store(err.Error())
			} else if result.Status != primitive.SendOK {
				failure.Store(result.String())
			}
			answered.Done()
		}, r.message(topic, text)))
	}
	answered.Wait()
	if r.apache() && failure.Load() != nil && strings.Contains(failure.Load().(string), "TIMEOUT_CLEAN_QUEUE") {
		return // a cold Apache broker refuses a burst as "busy"; ours may not
	}
	r.equal(nil, failure.Load(), "a callback's error")
	r.collect(topic, "*").expect(append(texts, "first"), patience)
}

func onewaySend(r *run) {
	topic := r.topic("GoOneway")
	p := r.producer()
	texts := numbered("oneway", 100)
	r.send(p, r.message(topic, "first"))
	for _, text := range texts {
		r.fine(p.SendOneWay(context.Background(), r.message(topic, text)))
	}
	r.collect(topic, "*").expect(append(texts, "first"), patience)
}

func batch(r *run) {
	topic := r.topic("GoBatch")
	p := r.producer()
	texts := numbered("batched", 10)
	messages := []*primitive.Message{}
	for _, text := range texts {
		messages = append(messages, r.message(topic, text).WithTag("TagB").WithKeys([]string{strings.ReplaceAll(text, " ", "")}))
	}
	result := r.send(p, messages...)
	got := r.collect(topic, "TagB").expect(texts, patience)
	for i, text := range texts {
		r.equal(result.QueueOffset+int64(i), got[text].QueueOffset, "offset of "+text)
		r.equal(strings.ReplaceAll(text, " ", ""), got[text].GetKeys(), "keys of "+text)
	}
}

func compressed(r *run) {
	topic := r.topic("GoZip")
	p := r.producer()
	text := strings.Repeat("posthouse ", 3000)
	r.send(p, r.message(topic, text))
	got := r.collect(topic, "*").expect([]string{text}, patience)
	r.check(got[text].StoreSize < 5000, fmt.Sprintf("stored size %d", got[text].StoreSize))
}

func properties(r *run) {
	topic := r.topic("GoProps")
	p := r.producer()
	message := r.message(topic, "with properties").WithTag("TagP").WithKeys([]string{"k1", "k2"}).WithShardingKey("shard")
	message.WithProperty("a", "10")
	message.WithProperty("中文", "值")
	message.WithProperty("zzz_last", "the last one")
	result := r.send(p, message)
	got := r.collect(topic, "*").expect([]string{"with properties"}, patience)["with properties"]
	r.equal("10", got.GetProperty("a"), "property a")
	r.equal("值", got.GetProperty("中文"), "property in Chinese")
	r.equal("the last one", got.GetProperty("zzz_last"), "the last property")
	r.equal("shard", got.GetShardingKey(), "sharding key")
	r.equal("TagP", got.GetTags(), "tags")
	r.equal("k1 k2", got.GetKeys(), "keys")
	r.equal(result.MsgID, got.MsgId, "message id")
	if !r.apache() {
		r.check(got.GetProperty("__CRC32#") != "", "no checksum property")
	}
}

func through(r *run) {
	topic := r.topic("GoThrough")
	p := r.producer()
	texts := numbered("through", 20)
	for _, text := range texts {
		r.send(p, r.message(topic, text))
	}
	r.collect(topic, "*").expect(texts, patience)
}

func pushTags(r *run) {
	topic := r.topic("GoTags")
	p := r.producer()
	for _, tag := range []string{"TagA", "TagB", "TagC"} {
		r.send(p, r.message(topic, tag).WithTag(tag))
	}
	r.send(p, r.message(topic, "none"))
	two := r.collect(topic, "TagA || TagB")
	all := r.collect(topic, "*")
	all.expect([]string{"TagA", "TagB", "TagC", "none"}, patience)
	two.expect([]string{"TagA", "TagB"}, patience)
	r.send(p, r.message(topic, "late").WithTag("TagB"))
	two.expect([]string{"TagA", "TagB", "late"}, patience)
}

// The tutorial's SQL92 consumer; some messages come while its pulls are held.
func sqlFilter(r *run) {
	topic := r.topic("GoSql")
	p := r.producer()
	send := func(from, to int) {
		for i := from; i < to; i++ {
			m := r.message(topic, fmt.Sprint(i))
			m.WithProperty("a", fmt.Sprint(i))
			r.send(p, m)
		}
	}
	send(0, 2)
	in := &inbox{run: r}
	c := r.push("GoSqlC")
	between := consumer.MessageSelector{Type: consumer.SQL92, Expression: "a between 0 and 3"}
	r.fine(c.Subscribe(topic, between, in.listen))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
	in.expect([]string{"0", "1"}, patience)
	send(2, 10)
	in.expect([]string{"0", "1", "2", "3"}, patience)
}

// Two members share the queues: every message once, and both read some.
func loadBalancing(r *run) {
	topic := r.topic("GoShare")
	p := r.producer(producer.WithQueueSelector(producer.NewRoundRobinQueueSelector()))
	r.send(p, r.message(topic, "first"))
	both := &inbox{run: r}
	counts := [2]atomic.Int64{}
	for i := 0; i < 2; i++ {
		c := r.push("GoMembers")
		r.fine(c.Subscribe(topic, tags("*"), func(ctx context.Context, m ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			counts[i].Add(int64(len(m)))
			return both.listen(ctx, m...)
		}))
		r.fine(c.Start())
		r.atEnd(func() { _ = c.Shutdown() })
	}
	texts := []string{"first"}
	r.await("both members to read", patience, func() bool {
		text := fmt.Sprintf("shared %d", len(texts))
		texts = append(texts, text)
		r.send(p, r.message(topic, text))
		return counts[0].Load() > 0 && counts[1].Load() > 0
	})
	r.await("all messages", patience, func() bool {
		seen := map[string]bool{}
		for _, message := range both.all() {
			seen[text(message)] = true
		}
		return len(seen) == len(texts)
	})
}

func broadcasting(r *run) {
	topic := r.topic("GoBroadcast")
	p := r.producer()
	texts := numbered("to all", 5)
	for _, text := range texts {
		r.send(p, r.message(topic, text))
	}
	inboxes := []*inbox{}
	for i := 0; i < 2; i++ {
		in := &inbox{run: r}
		c := r.push("GoAll", consumer.WithConsumerModel(consumer.BroadCasting))
		r.fine(c.Subscribe(topic, tags("*"), in.listen))
		r.fine(c.Start())
		r.atEnd(func() { _ = c.Shutdown() })
		inboxes = append(inboxes, in)
	}
	for _, in := range inboxes {
		in.expect(texts, patience)
	}
}

func orderly(r *run) {
	topic := r.topic("GoOrder")
	p := r.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	for step := 0; step < 8; step++ {
		for order := 0; order < 3; order++ {
			message := r.message(topic, fmt.Sprintf("%d %d", order, step))
			r.send(p, message.WithShardingKey(fmt.Sprintf("order%d", order)))
		}
	}
	in := r.collect(topic, "*", consumer.WithConsumerOrder(true))
	r.await("24 steps", patience, func() bool { return len(in.all()) >= 24 })
	next := map[int]int{}
	for _, message := range in.all() {
		var order, step int
		_, err := fmt.Sscanf(text(message), "%d %d", &order, &step)
		r.fine(err)
		r.equal(next[order], step, fmt.Sprintf("step of order %d", order))
		next[order]++
	}
}

func restart(r *run) {
	topic := r.topic("GoRestart")
	p := r.producer()
	for _, round := range []string{"one", "two"} {
		texts := numbered(round, 10)
		for _, text := range texts {
			r.send(p, r.message(topic, text))
		}
		in := &inbox{run: r}
		c := r.push("GoAgain")
		r.fine(c.Subscribe(topic, tags("*"), in.listen))
		r.fine(c.Start())
		in.expect(texts, patience)
		r.fine(c.Shutdown())
	}
}

func (r *run) puller(group string) rocketmq.PullConsumer {
	c, err := rocketmq.NewPullConsumer(
		consumer.WithNameServer(r.servers()),
		consumer.WithGroupName(r.topic(group)),
		consumer.WithInstance(r.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	r.fine(err)
	r.atEnd(func() { _ = c.Shutdown() })
	return c
}

func pull(r *run) {
	topic := r.topic("GoPoll")
	p := r.producer()
	texts := numbered("polled", 20)
	for _, text := range texts {
		r.send(p, r.message(topic, text).WithTag("TagA"))
	}
	c := r.puller("GoPoller")
	r.fine(c.Subscribe(topic, tags("TagA")))
	r.fine(c.Start())
	in := &inbox{run: r}
	r.await("20 polled messages", patience, func() bool {
		request, err := c.Poll(context.Background(), time.Second)
		if err == nil && request != nil {
			in.add(request.GetMsgList())
			c.ACK(context.Background(), request, consumer.ConsumeSuccess)
		}
		return len(in.all()) >= len(texts)
	})
	in.expect(texts, time.Second)
}

func pullFrom(r *run) {
	topic := r.topic("GoPull")
	p := r.producer()
	queue := (*primitive.MessageQueue)(nil)
	counts := map[int]int64{}
	for _, text := range numbered("pulled", 20) {
		result := r.send(p, r.message(topic, text))
		queue = result.MessageQueue
		counts[queue.QueueId]++
	}
	c := r.puller("GoPuller")
	r.fine(c.Subscribe(topic, tags("*")))
	r.fine(c.Start())
	result, err := c.PullFrom(context.Background(), queue, 1, 32)
	r.fine(err)
	r.equal(primitive.PullFound, result.Status, "status")
	r.equal(counts[queue.QueueId], result.MaxOffset, "max offset")
	r.equal(counts[queue.QueueId], result.NextBeginOffset, "next offset")
	r.equal(counts[queue.QueueId]-1, len(result.GetMessageExts()), "messages")
	r.equal(1, result.GetMessageExts()[0].QueueOffset, "first offset")
}

// Decides by a message's text, and remembers what it was asked.
type transactions struct {
	mu    sync.Mutex
	asked []*primitive.MessageExt
}

func (t *transactions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	switch {
	case strings.HasSuffix(string(message.Body), "commit"):
		return primitive.CommitMessageState
	case strings.HasSuffix(string(message.Body), "rollback"):
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (t *transactions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = append(t.asked, message)
	if strings.Contains(string(message.Body), "keep") {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (t *transactions) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.asked)
}

func transaction(r *run) {
	topic := r.topic("GoTx")
	decide := &transactions{}
	p := r.transactions(decide, "GoTxP")
	for _, text := range []string{"commit", "rollback", "keep, asked", "drop, asked"} {
		message := r.message(topic, text)
		message.WithProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "1")
		result, err := p.SendMessageInTransaction(context.Background(), message)
		r.fine(err)
		r.equal(primitive.SendOK, result.Status, "send status")
	}
	in := r.collect(topic, "*")
	got := in.expect([]string{"commit", "keep, asked"}, 60*time.Second)
	r.await("two questions", 60*time.Second, func() bool { return decide.count() >= 2 })
	r.equal(got["keep, asked"].TransactionId, got["keep, asked"].GetProperty("UNIQ_KEY"), "transaction id")
}

// A listener that fails once gets its message again.
// Two retries are allowed: three tries, and a dead letter on the third.
func retryDeadLetter(r *run) {
	topic := r.topic("GoFailing")
	p := r.producer()
	r.send(p, r.message(topic, "hopeless"))
	tries := atomic.Int64{}
	c := r.push("GoFailing", consumer.WithMaxReconsumeTimes(2))
	r.fine(c.Subscribe(topic, tags("*"), func(ctx context.Context, _ ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if concurrent, ok := primitive.GetConcurrentlyCtx(ctx); ok {
			concurrent.DelayLevelWhenNextConsume = 1
		}
		tries.Add(1)
		return consumer.ConsumeRetryLater, nil
	}))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
	r.await("three tries", 90*time.Second, func() bool { return tries.Load() >= 3 })
	dead := "%DLQ%" + r.topic("GoFailing")
	r.collect(dead, "*").expect([]string{"hopeless"}, patience)
	r.equal(int64(3), tries.Load(), "tries")
}

func retryNotLost(r *run) {
	topic := r.topic("GoRetry")
	p := r.producer()
	r.send(p, r.message(topic, "stubborn"))
	tries := atomic.Int64{}
	c := r.push("GoStubborn")
	r.fine(c.Subscribe(topic, tags("*"), func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		if tries.Add(1) == 1 {
			return consumer.ConsumeRetryLater, nil
		}
		return consumer.ConsumeSuccess, nil
	}))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
	r.await("the second try", 40*time.Second, func() bool { return tries.Load() >= 2 })
}

// Section 4.3 of the tutorial: messages of level 3 come ten seconds later.
func scheduled(r *run) {
	topic := r.topic("GoScheduled")
	p := r.producer()
	r.send(p, r.message(topic, "now"))
	in := &inbox{run: r}
	late := sync.Map{}
	c := r.push("GoScheduled")
	r.fine(c.Subscribe(topic, tags("*"), func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range messages {
			late.Store(m.MsgId, time.Now().UnixMilli()-m.BornTimestamp)
		}
		return in.listen(ctx, messages...)
	}))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
	texts := numbered("Hello scheduled message", 100)
	for _, text := range texts {
		r.send(p, r.message(topic, text).WithDelayTimeLevel(3))
	}
	got := in.expect(append(texts, "now"), 60*time.Second)
	for _, text := range texts {
		after, _ := late.Load(got[text].MsgId)
		r.check(after.(int64) >= 10_000 && after.(int64) < 30_000, fmt.Sprintf("%s came after %d ms", text, after))
		r.equal("3", got[text].GetProperty(primitive.PropertyDelayTimeLevel), "level")
	}
}
