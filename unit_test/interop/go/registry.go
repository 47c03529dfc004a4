package main

import (
	"fmt"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"
)

// headers of the two registries: of a server's beat, and of the list.
var registryHeaders = map[string][2]string{
	"tinyrpc": {"X-Tinyrpc-Server", "X-Tinyrpc-Servers"},
	"geerpc":  {"X-Geerpc-Server", "X-Geerpc-Servers"},
}

// registry is the HTTP registry as both projects have it: one map, dropped on GET alone.
type registry struct {
	sync.Mutex
	headers [2]string
	expiry  time.Duration
	beats   map[string]time.Time
}

func (r *registry) ServeHTTP(out http.ResponseWriter, in *http.Request) {
	r.Lock()
	defer r.Unlock()
	switch in.Method {
	case "GET":
		var alive []string
		for address, beat := range r.beats {
			if r.expiry == 0 || beat.Add(r.expiry).After(time.Now()) {
				alive = append(alive, address)
			} else {
				delete(r.beats, address)
			}
		}
		sort.Strings(alive)
		out.Header().Set(r.headers[1], strings.Join(alive, ","))
	case "POST":
		address := in.Header.Get(r.headers[0])
		if address == "" {
			out.WriteHeader(http.StatusInternalServerError)
			return
		}
		r.beats[address] = time.Now()
	default:
		out.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// serveRegistry prints its address and serves for ever.
func serveRegistry(name string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	made := &registry{
		headers: registryHeaders[name], expiry: 5 * time.Minute, beats: map[string]time.Time{},
	}
	fmt.Println("listening on", listener.Addr())
	return http.Serve(listener, made)
}

// announce beats once for each address, then prints the list.
func announce(name, url string, addresses []string) error {
	headers := registryHeaders[name]
	for _, address := range addresses {
		request, err := http.NewRequest("POST", url, nil)
		if err != nil {
			return err
		}
		request.Header.Set(headers[0], address)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		answer.Body.Close()
		if answer.StatusCode != 200 {
			return fmt.Errorf("beat of %s: %s", address, answer.Status)
		}
	}
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Println(answer.Header.Get(headers[1]))
	return nil
}
