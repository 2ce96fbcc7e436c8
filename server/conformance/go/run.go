package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// A run of one scenario: its settings, its clients (closed at the end), and the words it checks with.
type run struct {
	id       string
	settings map[string]string
	mark     string
	closers  []func()
	names    int
	lock     sync.Mutex
}

func newRun(id string, settings map[string]string) *run {
	return &run{id: id, settings: settings, mark: fmt.Sprintf("go_%s_%x", id, time.Now().UnixNano()&0xffffff)}
}

func (r *run) servers() primitive.NamesrvAddr {
	address := r.settings["ns"]
	if address == "" {
		address = os.Getenv("NAMESRV_ADDR")
	}
	return primitive.NamesrvAddr{address}
}

func (r *run) apache() bool { return r.settings["target"] == "apache" }

func (r *run) topic(name string) string { return name + "_" + r.mark }

// Every client gets an instance of its own: clients that share one also share its end.
func (r *run) instance() string {
	r.lock.Lock()
	defer r.lock.Unlock()
	r.names++
	return fmt.Sprintf("%s_%d", r.mark, r.names)
}

func (r *run) atEnd(f func()) { r.closers = append(r.closers, f) }

func (r *run) close() {
	for i := len(r.closers) - 1; i >= 0; i-- {
		r.closers[i]()
	}
}

func (r *run) producer(options ...producer.Option) rocketmq.Producer {
	options = append([]producer.Option{
		producer.WithNameServer(r.servers()),
		producer.WithGroupName(r.topic("GoP")),
		producer.WithInstanceName(r.instance()),
		producer.WithSendMsgTimeout(10 * time.Second),
	}, options...)
	p, err := rocketmq.NewProducer(options...)
	r.fine(err)
	r.fine(p.Start())
	r.atEnd(func() { _ = p.Shutdown() })
	return p
}

func (r *run) push(group string, options ...consumer.Option) rocketmq.PushConsumer {
	options = append([]consumer.Option{
		consumer.WithNameServer(r.servers()),
		consumer.WithGroupName(r.topic(group)),
		consumer.WithInstance(r.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	c, err := rocketmq.NewPushConsumer(options...)
	r.fine(err)
	return c
}

// A started push consumer of a group of its own that puts everything of this run into an inbox.
func (r *run) collect(topic, expression string, options ...consumer.Option) *inbox {
	in := &inbox{run: r}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		c := r.push("GoC_"+r.instance(), options...)
		r.fine(c.Subscribe(topic, tags(expression), in.listen))
		err := c.Start()
		if err == nil {
			r.atEnd(func() { _ = c.Shutdown() })
			return in
		}
		// A dead-letter topic is made with its first letter, which may be on its way.
		if !strings.Contains(err.Error(), "route info not found") || time.Now().After(end) {
			r.fine(err)
		}
	}
}

func tags(expression string) consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: expression}
}

func (r *run) body(text string) []byte { return []byte(r.mark + "|" + text) }

func (r *run) message(topic, text string) *primitive.Message {
	return primitive.NewMessage(topic, r.body(text))
}

func (r *run) send(p rocketmq.Producer, messages ...*primitive.Message) *primitive.SendResult {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result, err := p.SendSync(ctx, messages...)
	for busy := 0; r.apache() && busy < 5 && err != nil && strings.Contains(err.Error(), "TIMEOUT_CLEAN_QUEUE"); busy++ {
		result, err = p.SendSync(ctx, messages...) // a cold Apache broker refuses bursts; ours may not
	}
	r.fine(err)
	r.equal(primitive.SendOK, result.Status, "send status")
	return result
}

func (r *run) fine(err error) {
	if err != nil {
		panic(err)
	}
}

func (r *run) check(holds bool, what string) {
	if !holds {
		panic(what)
	}
}

func (r *run) equal(expected, actual any, what string) {
	if fmt.Sprint(expected) != fmt.Sprint(actual) {
		panic(fmt.Sprintf("%s: expected %v but was %v", what, expected, actual))
	}
}

func (r *run) await(what string, limit time.Duration, ready func() bool) {
	if r.apache() {
		limit += 30 * time.Second // see the Java runner's patience
	}
	for end := time.Now().Add(limit); !ready(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			panic(fmt.Sprintf("waited %v for %s", limit, what))
		}
	}
}

func number(id string) json.Number { return json.Number(id) }

func (r *run) emit(event string, fields ...any) {
	line := map[string]any{"run": number(r.id), "event": event}
	for i := 0; i < len(fields); i += 2 {
		line[fields[i].(string)] = fields[i+1]
	}
	say(line)
}

// What consumers of one run received; messages of other runs are left out.
type inbox struct {
	run      *run
	lock     sync.Mutex
	messages []*primitive.MessageExt
}

func (in *inbox) listen(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	in.add(messages)
	return consumer.ConsumeSuccess, nil
}

func (in *inbox) add(messages []*primitive.MessageExt) {
	in.lock.Lock()
	defer in.lock.Unlock()
	for _, message := range messages {
		if strings.HasPrefix(string(message.Body), in.run.mark+"|") {
			in.messages = append(in.messages, message)
		}
	}
}

func (in *inbox) all() []*primitive.MessageExt {
	in.lock.Lock()
	defer in.lock.Unlock()
	return append([]*primitive.MessageExt{}, in.messages...)
}

// Waits for exactly these texts, each once.
func (in *inbox) expect(texts []string, limit time.Duration) map[string]*primitive.MessageExt {
	in.run.await(fmt.Sprintf("%d messages", len(texts)), limit, func() bool { return len(in.all()) >= len(texts) })
	byText := map[string]*primitive.MessageExt{}
	got := []string{}
	for _, message := range in.all() {
		byText[text(message)] = message
		got = append(got, text(message))
	}
	expected := append([]string{}, texts...)
	sort.Strings(expected)
	sort.Strings(got)
	in.run.equal(expected, got, "received texts")
	return byText
}

func text(message *primitive.MessageExt) string {
	_, after, _ := strings.Cut(string(message.Body), "|")
	return after
}
