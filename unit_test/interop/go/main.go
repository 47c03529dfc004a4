// Peer is TinyRPC or gee-rpc as a client, as a server, and their gob alone.
//
//	peer call tinyrpc|geerpc tcp|connect ADDRESS   calls, checks every answer
//	peer serve tinyrpc|geerpc                      prints both its addresses
//	peer registry tinyrpc|geerpc                   prints its address
//	peer announce tinyrpc|geerpc URL ADDRESS...    beats once for each, prints the list
//	peer gob                                       hex lines of Everything in, what Go saw out
package main

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"
)

func main() {
	var err error
	switch {
	case len(os.Args) == 5 && os.Args[1] == "call":
		err = callAll(os.Args[4], dialects[os.Args[2]], os.Args[3] == "connect")
	case len(os.Args) == 3 && os.Args[1] == "serve":
		go endWithInput()
		err = serve(dialects[os.Args[2]])
	case len(os.Args) == 3 && os.Args[1] == "registry":
		go endWithInput()
		err = serveRegistry(os.Args[2])
	case len(os.Args) >= 4 && os.Args[1] == "announce":
		err = announce(os.Args[2], os.Args[3], os.Args[4:])
	case len(os.Args) == 2 && os.Args[1] == "gob":
		err = mirrorGob()
	default:
		err = errors.New("usage: peer call|serve|registry|announce|gob ...")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func endWithInput() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func callAll(address string, spoken dialect, connect bool) error {
	foo, err := dial(address, spoken, connect, 0)
	if err != nil {
		return err
	}
	for number := 0; number < 2; number++ { // the second time every type is known
		if err := results(foo); err != nil {
			return err
		}
		if err := failures(foo); err != nil {
			return err
		}
	}
	if err := atOnce(foo); err != nil {
		return err
	}
	hasty, err := dial(address, spoken, connect, 500*time.Millisecond)
	if err != nil {
		return err
	}
	wanted := "rpc server: request handle timeout: expect within 500ms"
	if err := expectError(hasty, "Foo.Sleep", Args{60, 0}, wanted); err != nil {
		return err
	}
	return expect(hasty, "Foo.Sum", Args{1, 3}, 4)
}

func results(foo *client) error {
	for _, each := range []struct {
		method           string
		argument, wanted interface{}
	}{
		{"Foo.Sum", Args{1, 3}, 4},
		{"Foo.Sum", Args{-1, -1 << 60}, -1<<60 - 1},
		{"Foo.Sum", Args{}, 0},
		{"Foo.Mirror", everything(), everything()},
		{"Foo.Mirror", Everything{}, Everything{}},
		{"Foo.Squares", 3, map[int]int{0: 0, 1: 1, 2: 4}},
		{"Foo.Squares", 0, map[int]int{}},
		{"Foo.Words", "two words", []string{"two", "words"}},
		{"Foo.Long", 3 << 20, make([]byte, 3<<20)},
	} {
		if err := expect(foo, each.method, each.argument, each.wanted); err != nil {
			return err
		}
	}
	return nil
}

func failures(foo *client) error {
	for _, each := range []struct{ method, wanted string }{
		{"Foo.Fail", "boom"},
		{"Foo.Mul", "rpc server: can't find method Mul"},
		{"Bar.Sum", "rpc server: can't find service Bar"},
	} {
		if err := expectError(foo, each.method, Args{1, 3}, each.wanted); err != nil {
			return err
		}
	}
	return expect(foo, "Foo.Sum", Args{2, 3}, 5)
}

func atOnce(foo *client) error {
	var calls []*call
	replies := make([]int, 5)
	for number := range replies {
		args := Args{number, number * number}
		calls = append(calls, foo.start("Foo.Sum", args, &replies[number]))
	}
	for number, each := range calls {
		if err := <-each.done; err != nil {
			return err
		}
		if replies[number] != number+number*number {
			return fmt.Errorf("call %d of five at once: %d", number, replies[number])
		}
	}
	return nil
}

func expect(foo *client, method string, argument, wanted interface{}) error {
	reply := reflect.New(reflect.TypeOf(wanted))
	if reply.Elem().Kind() == reflect.Map {
		reply.Elem().Set(reflect.MakeMap(reply.Elem().Type()))
	}
	if err := foo.call(method, argument, reply.Interface()); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if got := reply.Elem().Interface(); !reflect.DeepEqual(got, wanted) {
		return fmt.Errorf("%s: %.200v, not %.200v", method, got, wanted)
	}
	return nil
}

func expectError(foo *client, method string, argument interface{}, wanted string) error {
	var reply int
	err := foo.call(method, argument, &reply)
	if err == nil || err.Error() != wanted {
		return fmt.Errorf("%s: error %v, not %s", method, err, wanted)
	}
	return nil
}

// mirrorGob decodes each line, prints what Go saw, and the bytes that Go would send.
func mirrorGob() error {
	input := bufio.NewScanner(os.Stdin)
	input.Buffer(nil, 1<<20)
	for input.Scan() {
		data, err := hex.DecodeString(strings.TrimSpace(input.Text()))
		if err != nil {
			return err
		}
		var all Everything
		if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&all); err != nil {
			fmt.Println("error", err)
			continue
		}
		var out bytes.Buffer
		if err := gob.NewEncoder(&out).Encode(all); err != nil {
			return err
		}
		fmt.Printf("%x %t\n", out.Bytes(), reflect.DeepEqual(all, everything()))
	}
	return input.Err()
}
