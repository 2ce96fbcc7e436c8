package main

import (
	"os/exec"
	"testing"
)

// What Go prints of a crash, whose goroutine is the first.
const (
	ofTheClient = `panic: send on closed channel

goroutine 412 [running]:
github.com/apache/rocketmq-client-go/v2/consumer.(*processQueue).putMessage(0xc0003, {0xc00, 0x1, 0x1})
	consumer/process_queue.go:126 +0x505
created by github.com/apache/rocketmq-client-go/v2/consumer.(*pushConsumer).pullMessage in goroutine 398
	consumer/push_consumer.go:640 +0x1f

goroutine 1 [chan receive]:
main.play({0xc000, 0x3, 0x3})
	main.go:90 +0x11
`
	ofOurs = `panic: assignment to entry in nil map

goroutine 31 [running]:
main.mixedMember.func1({0x0, 0x0}, {0xc00, 0x1, 0x1})
	asked.go:130 +0x22
github.com/apache/rocketmq-client-go/v2/consumer.(*pushConsumer).consumeInner.func1()
	consumer/push_consumer.go:1001 +0x99
`
)

func TestWhoseCrashItWas(t *testing.T) {
	for crash, own := range map[string]bool{ofTheClient: true, ofOurs: false, "killed": false, "": false} {
		if clientsOwn(crash) != own {
			t.Errorf("%v of\n%s", !own, crash)
		}
	}
}

// As it looks to the one who supervises: a process that cannot even begin has ended without its end.
func TestAProcessThatEndsWithoutSayingSo(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip(err)
	}
	ended, crash, err := inProcess(exec.Command("sh", "-c", "echo lost >&2; exit 3"))
	if ended || crash != "lost\n" || err == nil || err.Error() != "exit status 3" {
		t.Errorf("ended %v, %q, %v", ended, crash, err)
	}
	ended, _, err = inProcess(exec.Command("sh", "-c", `echo '{"event":"end"}'; exit 2`))
	if !ended || err == nil {
		t.Errorf("ended %v, %v", ended, err)
	}
}
