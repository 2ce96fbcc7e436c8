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

// Messages that come later, that come back, and that wait for a decision.

// Any time, told by each of the three properties: the client has no words of its own for them, nor for the handle by
// which a message is recalled. A time that has passed means at once, and one too far is refused.
func timers(r *run) {
	topic := r.topic("GoTimers")
	p := r.producer(producer.WithRetry(0))
	r.send(p, r.message(topic, "plain"))
	in := &inbox{run: r}
	came := sync.Map{}
	c := r.push("GoTimers")
	r.fine(c.Subscribe(topic, tags("*"), func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range messages {
			came.Store(text(m), time.Now().UnixMilli())
		}
		return in.listen(ctx, messages...)
	}))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
	timed := func(text, property string, value int64) *primitive.Message {
		m := r.message(topic, text)
		m.WithProperty(property, fmt.Sprint(value))
		return m
	}
	begun := time.Now().UnixMilli()
	r.send(p, timed("seconds", "TIMER_DELAY_SEC", 3))
	r.send(p, timed("millis", "TIMER_DELAY_MS", 2_500))
	r.send(p, timed("time", "TIMER_DELIVER_MS", begun+4_000))
	r.send(p, timed("past", "TIMER_DELIVER_MS", begun-5_000))
	got := in.expect([]string{"plain", "seconds", "millis", "time", "past"}, patience)
	step := int64(0)
	if r.apache() {
		step = 1_000 // its wheel ticks once a second, and tells a time in its steps
	}
	for name, due := range map[string]int64{
		"seconds": got["seconds"].BornTimestamp + 3_000,
		"millis":  got["millis"].BornTimestamp + 2_500,
		"time":    begun + 4_000,
		"past":    begun,
	} {
		at, _ := came.Load(name)
		r.check(at.(int64) >= due-step, fmt.Sprintf("%s came %d ms early", name, due-at.(int64)))
		late := got[name].StoreTimestamp - due
		r.check(late < 10_000, fmt.Sprintf("%s was %d ms late", name, late))
		r.equal(topic, got[name].Topic, "topic of "+name)
	}
	_, err := p.SendSync(context.Background(), timed("far", "TIMER_DELAY_SEC", 4*24*3600))
	r.check(err != nil && strings.Contains(err.Error(), "13"), fmt.Sprintf("four days: %v", err))
}

// A consumer in order tries in place, then sends the message away and goes on behind it.
func orderlyGivesUp(r *run) {
	topic := r.topic("GoStuck")
	p := r.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	for _, text := range []string{"before", "stone", "behind"} {
		r.send(p, r.message(topic, text).WithShardingKey("one"))
	}
	lock, seen := sync.Mutex{}, []string{}
	c := r.push("GoStuck", consumer.WithConsumerOrder(true), consumer.WithMaxReconsumeTimes(1))
	r.fine(c.Subscribe(topic, tags("*"), func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		for _, m := range messages {
			seen = append(seen, text(m))
			if text(m) == "stone" {
				if ordered, ok := primitive.GetOrderlyCtx(ctx); ok {
					ordered.SuspendCurrentQueueTimeMillis = 20
				}
				return consumer.SuspendCurrentQueueAMoment, nil
			}
		}
		return consumer.ConsumeSuccess, nil
	}))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
	order := func() string {
		lock.Lock()
		defer lock.Unlock()
		return strings.Join(seen, " ")
	}
	r.await("the message behind the one that is given up", 90*time.Second, func() bool {
		return strings.HasSuffix(order(), "behind")
	})
	// The first time counts as none, and only what is above one is too much.
	r.equal("before stone stone stone behind", order(), "the order")
	letter := r.collect("%DLQ%"+r.topic("GoStuck"), "*").expect([]string{"stone"}, patience)["stone"]
	r.equal(topic, letter.GetProperty("RETRY_TOPIC"), "where the dead letter is from")
}

func (r *run) transactions(listener primitive.TransactionListener, group string) rocketmq.TransactionProducer {
	p, err := rocketmq.NewTransactionProducer(listener,
		producer.WithNameServer(r.servers()),
		producer.WithGroupName(r.topic(group)),
		producer.WithInstanceName(r.instance()),
		producer.WithRetry(0))
	r.fine(err)
	r.fine(p.Start())
	r.atEnd(func() { _ = p.Shutdown() })
	return p
}

// Asked about a second after it was stored.
func (r *run) prepare(p rocketmq.TransactionProducer, topic, text string) *primitive.TransactionSendResult {
	message := r.message(topic, text)
	message.WithProperty("CHECK_IMMUNITY_TIME_IN_SECONDS", "1")
	result, err := p.SendMessageInTransaction(context.Background(), message)
	r.fine(err)
	r.equal(primitive.SendOK, result.Status, "send status")
	return result
}

// The producer is gone before it decided: another member of its group is asked.
func transactionOtherMember(r *run) {
	topic := r.topic("GoOrphans")
	never := &transactions{}
	first := r.transactions(never, "GoMembersP")
	r.prepare(first, topic, "keep this orphan")
	r.fine(first.Shutdown())
	asked := &transactions{}
	second := r.transactions(asked, "GoMembersP")
	r.prepare(second, topic, "plain commit")
	r.collect(topic, "*").expect([]string{"keep this orphan", "plain commit"}, patience)
	r.equal(0, never.count(), "questions to the one that is gone")
	r.check(asked.count() >= 1, "the other one was not asked")
}

// Never decides, and counts how often it was asked.
type undecided struct{ asked atomic.Int64 }

func (u *undecided) ExecuteLocalTransaction(*primitive.Message) primitive.LocalTransactionState {
	return primitive.UnknowState
}

func (u *undecided) CheckLocalTransaction(*primitive.MessageExt) primitive.LocalTransactionState {
	u.asked.Add(1)
	return primitive.UnknowState
}

// A transaction that nobody ever decides lies where an operator finds it.
func transactionGivenUp(r *run) {
	topic := r.topic("GoUndecided")
	listener := &undecided{}
	p := r.transactions(listener, "GoUndecidedP")
	result := r.prepare(p, topic, "never")
	dead := &inbox{run: r}
	r.await("the topic of those given up", 90*time.Second, func() bool {
		c := r.push("GoC_" + r.instance())
		r.fine(c.Subscribe("TRANS_CHECK_MAX_TIME_TOPIC", tags("*"), dead.listen))
		r.atEnd(func() { _ = c.Shutdown() })
		return c.Start() == nil // refused until the topic is there
	})
	found := dead.expect([]string{"never"}, patience)["never"]
	r.equal(topic, found.GetProperty("REAL_TOPIC"), "real topic")
	r.equal(result.MsgID, found.GetProperty("UNIQ_KEY"), "key")
	r.check(listener.asked.Load() >= 2, fmt.Sprintf("asked %d times", listener.asked.Load()))
	if !r.apache() {
		r.equal(3, listener.asked.Load(), "questions")
	}
}
