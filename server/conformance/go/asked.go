package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// What a Go client is asked, and asks: replies, and what brokers and administrators want to know of a running consumer.
// The other half of the scenarios that begin with "mixed" is a client in another language: topic and group are settings.

// The client's own function takes the body for properties, so that its reply would have none: see README.md.
func replyTo(asked *primitive.MessageExt, text string) (*primitive.Message, error) {
	reply, err := consumer.CreateReplyMessage(asked, nil)
	if err == nil {
		reply.Body = []byte(text)
	}
	return reply, err
}

// A consumer that answers each request; anything else goes to other.
func (r *run) answering(topic, group, prefix string, other func(*primitive.MessageExt)) {
	replier := r.producer(producer.WithGroupName(r.topic("GoReplier")))
	c := r.push(group)
	r.fine(c.Subscribe(topic, tags("*"), func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range messages {
			if consumer.GetReplyToClient(m) == "" {
				other(m)
				continue
			}
			reply, err := replyTo(m, prefix+string(m.Body))
			if err == nil {
				_, err = replier.SendSync(ctx, reply)
			}
			if err != nil {
				r.emit("reply", "error", err.Error()) // the requester asks again
			}
		}
		return consumer.ConsumeSuccess, nil
	}))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
}

// Asks until somebody replies: an early question may find nobody.
func (r *run) request(p rocketmq.Producer, topic, text string) string {
	var answer string
	r.await("a reply to "+text, patience, func() bool {
		reply, err := p.Request(context.Background(), 5*time.Second, primitive.NewMessage(topic, []byte(text)))
		if err == nil && reply != nil {
			answer = string(reply.Body)
		}
		return answer != ""
	})
	return answer
}

// One question that waits for its answer, and one whose answer comes to a function.
func requestReply(r *run) {
	topic := r.topic("GoAsked")
	p := r.producer()
	r.send(p, r.message(topic, "no request"))
	warm := make(chan struct{})
	r.answering(topic, "GoReplying", "reply to ", func(*primitive.MessageExt) { close(warm) })
	select {
	case <-warm:
	case <-time.After(patience):
		panic("the consumer's first message did not come")
	}
	r.equal("reply to one", r.request(p, topic, "one"), "the reply")
	got := make(chan string, 1)
	heard := func(_ context.Context, reply *primitive.Message, err error) {
		text := fmt.Sprint(err)
		if reply != nil {
			text = string(reply.Body)
		}
		select {
		case got <- text:
		default: // the client calls back once more when the answered question leaves its table
		}
	}
	r.fine(p.RequestAsync(context.Background(), 15*time.Second, heard, primitive.NewMessage(topic, []byte("two"))))
	select {
	case text := <-got:
		r.equal("reply to two", text, "the reply to the second request")
	case <-time.After(20 * time.Second):
		panic("no answer to the second request")
	}
}

// Asks "from Go" until somebody replies, tells the reply, and ends the other half.
func mixedRequest(r *run) {
	topic := r.settings["topic"]
	p := r.producer()
	r.emit("reply", "body", r.request(p, topic, "from Go"))
	r.send(p, primitive.NewMessage(topic, []byte("stop")))
}

// Replies to requests until "stop" comes.
func mixedReply(r *run) {
	topic := r.settings["topic"]
	r.send(r.producer(), primitive.NewMessage(topic, []byte("made by the first message")))
	stop := make(chan struct{})
	r.answering(topic, "GoReplying", "Go says ", func(m *primitive.MessageExt) {
		if string(m.Body) == "stop" {
			close(stop)
		}
	})
	select {
	case <-stop:
	case <-time.After(4 * time.Minute):
		panic("the end did not come")
	}
}

// A member of a group that somebody else looks after: tells what it gets until each text came as often as "until" says
// ("first:2,asked:3"). Its first message is its own.
func mixedMember(r *run) {
	topic := r.settings["topic"]
	r.send(r.producer(), primitive.NewMessage(topic, []byte("first")))
	lock, seen := sync.Mutex{}, map[string]int{}
	c := r.push("", consumer.WithGroupName(r.settings["group"]), consumer.WithConsumerOrder(r.settings["order"] == "true"))
	r.fine(c.Subscribe(topic, tags("*"), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		lock.Lock()
		defer lock.Unlock()
		for _, m := range messages {
			seen[string(m.Body)]++
			r.emit("got", "body", string(m.Body), "offset", m.QueueOffset, "topic", m.Topic)
		}
		return consumer.ConsumeSuccess, nil
	}))
	r.fine(c.Start())
	r.atEnd(func() { _ = c.Shutdown() })
	for _, wanted := range strings.Split(r.settings["until"], ",") {
		text, times, _ := strings.Cut(wanted, ":")
		count, err := strconv.Atoi(times)
		r.fine(err)
		r.await(wanted, 3*time.Minute, func() bool {
			lock.Lock()
			defer lock.Unlock()
			return seen[text] >= count
		})
	}
}

// A producer and a consumer that write traces; both end, so that all is written.
func trace(r *run) {
	topic := r.topic("GoTraced")
	config := &primitive.TraceConfig{Access: primitive.Local, NamesrvAddrs: r.servers()}
	p := r.producer(producer.WithGroupName(r.topic("GoTracing")), producer.WithTrace(config))
	sent := r.send(p, r.message(topic, "traced").WithTag("TagA").WithKeys([]string{"key"}))
	read := atomic.Int64{}
	c := r.push("GoTraced", consumer.WithTrace(config))
	r.fine(c.Subscribe(topic, tags("*"), func(context.Context, ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		read.Add(1)
		return consumer.ConsumeSuccess, nil
	}))
	r.fine(c.Start())
	r.await("the traced message", patience, func() bool { return read.Load() > 0 })
	r.fine(p.Shutdown())
	r.fine(c.Shutdown())
	r.emit("traced", "msgId", sent.MsgID, "producer", r.topic("GoTracing"), "consumer", r.topic("GoTraced"))
}
