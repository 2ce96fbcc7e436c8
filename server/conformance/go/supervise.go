package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// The client can bring down the process it is in: a push consumer that ends while messages come to it sends on a channel
// that it has just closed. So each scenario has a process of its own, and one that ended that way is played again.

const tries = 3

// Plays a scenario in a process of its own, to its end or to a crash that is not the client's.
func supervise(words []string) {
	for try := 1; ; try++ {
		ended, crash, err := inProcess(exec.Command(os.Args[0], append([]string{"play"}, words...)...))
		switch {
		case ended:
			return // what happens to the process after it told its end is nobody's concern
		case try < tries && clientsOwn(crash):
			say(map[string]any{"run": number(words[0]), "event": "again", "why": crash})
		default:
			problem := fmt.Sprintf("the client's process ended (%v), try %d:\n%s", err, try, crash)
			say(map[string]any{"run": number(words[0]), "event": "end", "ok": false, "error": problem})
			return
		}
	}
}

// Whether the scenario told its end, and what its process wrote to its standard error.
func inProcess(child *exec.Cmd) (ended bool, crash string, err error) {
	errors := &bytes.Buffer{}
	child.Stderr = io.MultiWriter(os.Stderr, errors)
	held, err := child.StdinPipe() // it ends with us
	if err != nil {
		return false, "", err
	}
	defer held.Close()
	out, err := child.StdoutPipe()
	if err != nil {
		return false, "", err
	}
	if err = child.Start(); err != nil {
		return false, "", err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		ended = ended || strings.Contains(lines.Text(), `"event":"end"`)
		sayLine(lines.Bytes())
	}
	err = child.Wait()
	return ended, errors.String(), err
}

var ownFrame = regexp.MustCompile(`(?m)^main\.`)

// Whether the goroutine that crashed ran no line of ours.
func clientsOwn(crash string) bool {
	at := strings.Index(crash, "\ngoroutine ")
	if at < 0 {
		return false
	}
	first, _, _ := strings.Cut(crash[at+1:], "\n\n")
	return !ownFrame.MatchString(first)
}
