// Command unreliable makes a bad release of a web server: it starts the server on another port, hands requests on to
// it, and answers a share of them with 500, or late. Health checks are left alone, as bugs do.
//
//	unreliable --fail-share=0.33 ./podinfo --port=9898 ...
//
// podinfo's own --random-error does not serve: of the third that it spoils only a third gets a 500 (the rest gets 400
// and 409), and it spoils the health checks too, so that Kubernetes takes the pods out of service by itself.
package main

import (
	"flag"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const behind = "19898"

type faults struct {
	failShare float64
	slowShare float64
	slowBy    time.Duration
}

func main() {
	var spoil faults
	flag.Float64Var(&spoil.failShare, "fail-share", 0, "share of requests that get a 500, from 0 to 1")
	flag.Float64Var(&spoil.slowShare, "slow-share", 0, "share of requests that are answered late, from 0 to 1")
	flag.DurationVar(&spoil.slowBy, "slow-by", 0, "how late")
	flag.Parse()

	port, command := takePort(flag.Args())
	server := start(command)
	go stopWith(server)
	target := &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", behind)}
	go func() { log.Fatal(http.ListenAndServe(":"+port, spoil.in(httputil.NewSingleHostReverseProxy(target)))) }()
	if err := server.Wait(); err != nil {
		log.Fatal(err)
	}
}

// takePort finds --port=N in the server's command and puts another one there.
func takePort(command []string) (string, []string) {
	moved := make([]string, 0, len(command))
	port := ""
	for _, word := range command {
		if value, found := strings.CutPrefix(word, "--port="); found {
			port = value
			word = "--port=" + behind
		}
		moved = append(moved, word)
	}
	if port == "" {
		log.Fatalf("no --port=N in %q", command)
	}
	return port, moved
}

// start starts the server, which the kernel ends if this process is killed.
func start(command []string) *exec.Cmd {
	server := exec.Command(command[0], command[1:]...)
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := server.Start(); err != nil {
		log.Fatal(err)
	}
	return server
}

// stopWith hands SIGTERM on, so that the server ends as gracefully as it does alone.
func stopWith(server *exec.Cmd) {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM, syscall.SIGINT)
	_ = server.Process.Signal(<-terminated)
}

// in spoils what a handler answers.
func (spoil faults) in(next http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		healthCheck := request.URL.Path == "/healthz" || request.URL.Path == "/readyz"
		if !healthCheck && rand.Float64() < spoil.slowShare {
			time.Sleep(spoil.slowBy)
		}
		if !healthCheck && rand.Float64() < spoil.failShare {
			http.Error(answer, "this release is bad", http.StatusInternalServerError)
			return
		}
		next.ServeHTTP(answer, request)
	})
}
