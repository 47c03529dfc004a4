package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// serve answers both ways of connecting on two ports, and ends with its standard input.
func serve(spoken dialect) error {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	connected, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc(spoken.path, func(writer http.ResponseWriter, request *http.Request) {
		if request.Method != "CONNECT" {
			writer.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		conn, _, err := writer.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(conn, "HTTP/1.0 "+spoken.connected+"\n\n")
			serveConn(conn, spoken)
		}
	})
	go http.Serve(connected, mux)
	fmt.Printf("listening on %s %s\n", plain.Addr(), connected.Addr())
	for {
		conn, err := plain.Accept()
		if err != nil {
			return err
		}
		go serveConn(conn, spoken)
	}
}

func serveConn(conn net.Conn, spoken dialect) {
	defer conn.Close()
	var option Option
	if err := json.NewDecoder(conn).Decode(&option); err != nil {
		return
	}
	if option.MagicNumber != magicNumber || option.CodecType != "application/gob" {
		return
	}
	if spoken.echoes {
		if err := json.NewEncoder(conn).Encode(option); err != nil {
			return
		}
	}
	codec := newCodec(conn)
	for {
		header := new(Header)
		if err := codec.decoder.Decode(header); err != nil {
			return
		}
		do := methods[header.ServiceMethod]
		if do == nil {
			codec.decoder.Decode(nil)
			header.Error = missing(header.ServiceMethod)
			codec.send(header, struct{}{})
			continue
		}
		// The argument must be read before the next header is.
		read := make(chan struct{})
		go answer(codec, header, option.HandleTimeout, func() (interface{}, error) {
			unread := true
			reply, err := do(func(into interface{}) error {
				err := codec.decoder.Decode(into)
				unread = false
				close(read)
				return err
			})
			if unread {
				close(read)
			}
			return reply, err
		})
		<-read
	}
}

func missing(name string) string {
	if strings.HasPrefix(name, "Foo.") {
		return "rpc server: can't find method " + strings.TrimPrefix(name, "Foo.")
	}
	return "rpc server: can't find service " + strings.Split(name, ".")[0]
}

func answer(codec *codec, header *Header, timeout time.Duration, do func() (interface{}, error)) {
	type outcome struct {
		reply interface{}
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		reply, err := do()
		done <- outcome{reply, err}
	}()
	var expired <-chan time.Time
	if timeout > 0 {
		expired = time.After(timeout)
	}
	select {
	case <-expired:
		header.Error = fmt.Sprintf("rpc server: request handle timeout: expect within %s", timeout)
		codec.send(header, struct{}{})
	case told := <-done:
		if told.err != nil {
			header.Error = told.err.Error()
			codec.send(header, struct{}{})
		} else {
			codec.send(header, told.reply)
		}
	}
}
