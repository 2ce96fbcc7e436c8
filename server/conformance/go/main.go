// Runs named scenarios with Apache's Go client: each line on standard input is "ID SCENARIO key=value …", each line on
// standard output a JSON object with "run" and "event". The same manners as the Java runner beside it.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

var scenarios = map[string]func(*run){
	"sync-send":                syncSend,
	"async-send":               asyncSend,
	"oneway-send":              onewaySend,
	"batch":                    batch,
	"compressed":               compressed,
	"properties":               properties,
	"through":                  through,
	"push-tags":                pushTags,
	"sql-filter":               sqlFilter,
	"load-balancing":           loadBalancing,
	"broadcasting":             broadcasting,
	"orderly":                  orderly,
	"restart":                  restart,
	"pull":                     pull,
	"pull-from":                pullFrom,
	"transaction":              transaction,
	"retry-not-lost":           retryNotLost,
	"scheduled":                scheduled,
	"retry-dead-letter":        retryDeadLetter,
	"orderly-gives-up":         orderlyGivesUp,
	"timers":                   timers,
	"transaction-other-member": transactionOtherMember,
	"transaction-given-up":     transactionGivenUp,
	"request-reply":            requestReply,
	"trace":                    trace,
	"mixed-request":            mixedRequest,
	"mixed-reply":              mixedReply,
	"mixed-member":             mixedMember,
}

var console sync.Mutex

func say(fields map[string]any) {
	line, _ := json.Marshal(fields)
	sayLine(line)
}

func sayLine(line []byte) {
	console.Lock()
	defer console.Unlock()
	fmt.Fprintf(os.Stdout, "%s\n", line)
}

func main() {
	rlog.SetLogLevel("error")
	if len(os.Args) > 3 && os.Args[1] == "play" {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1) // whoever asked for the scenario is gone
		}()
		play(os.Args[2:])
		return
	}
	say(map[string]any{"run": 0, "event": "ready"})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		go supervise(strings.Fields(lines.Text()))
	}
}

func play(words []string) {
	id, name, settings := words[0], words[1], map[string]string{}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		settings[key] = value
	}
	r := newRun(id, settings)
	problem := ""
	func() {
		defer func() {
			if p := recover(); p != nil {
				problem = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
		}()
		scenario := scenarios[name]
		if scenario == nil {
			panic("no such scenario")
		}
		scenario(r)
	}()
	r.emit("end", "ok", problem == "", "error", problem)
	r.close()
}
