// The stream that TinyRPC and gee-rpc share: an option in JSON, then headers and bodies in gob.
package main

import (
	"bufio"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

const magicNumber = 3927900

// Option begins a connection; both ends write it as JSON.
type Option struct {
	MagicNumber    int
	CodecType      string
	ConnectTimeout time.Duration
	HandleTimeout  time.Duration
}

// Header stands before each body.
type Header struct {
	ServiceMethod string
	Seq           uint64
	Error         string
}

// dialect is where the two projects differ.
type dialect struct {
	echoes    bool
	path      string
	connected string
}

var dialects = map[string]dialect{
	"tinyrpc": {true, "/_tinyrpc_", "200 Connected to RPC"},
	"geerpc":  {false, "/_geeprc_", "200 Connected to Gee RPC"},
}

// codec writes and reads headers and bodies; one goroutine reads.
type codec struct {
	conn    net.Conn
	buffer  *bufio.Writer
	encoder *gob.Encoder
	decoder *gob.Decoder
	sending sync.Mutex
}

func newCodec(conn net.Conn) *codec {
	buffer := bufio.NewWriter(conn)
	return &codec{
		conn:    conn,
		buffer:  buffer,
		encoder: gob.NewEncoder(buffer),
		decoder: gob.NewDecoder(conn),
	}
}

func (c *codec) send(header *Header, body interface{}) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.encoder.Encode(header); err != nil {
		return err
	}
	if err := c.encoder.Encode(body); err != nil {
		return err
	}
	return c.buffer.Flush()
}

// call is one that waits for its reply.
type call struct {
	reply interface{}
	done  chan error
}

// client is one connection with any number of calls.
type client struct {
	codec   *codec
	lock    sync.Mutex
	seq     uint64
	pending map[uint64]*call
	down    error
}

// dial connects, over CONNECT if asked, and waits for the option's answer where there is one.
func dial(address string, spoken dialect, connect bool, handleTimeout time.Duration) (*client, error) {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if connect {
		fmt.Fprintf(conn, "CONNECT %s HTTP/1.0\n\n", spoken.path)
		request := &http.Request{Method: "CONNECT"}
		response, err := http.ReadResponse(bufio.NewReader(conn), request)
		if err != nil {
			return nil, err
		}
		if response.Status != spoken.connected {
			return nil, errors.New("unexpected HTTP response: " + response.Status)
		}
	}
	option := Option{magicNumber, "application/gob", 10 * time.Second, handleTimeout}
	if err := json.NewEncoder(conn).Encode(option); err != nil {
		return nil, err
	}
	if spoken.echoes {
		var answered Option
		if err := json.NewDecoder(conn).Decode(&answered); err != nil {
			return nil, err
		}
		if answered != option {
			return nil, fmt.Errorf("option answered as %v", answered)
		}
	}
	made := &client{codec: newCodec(conn), pending: map[uint64]*call{}}
	go made.receive()
	return made, nil
}

func (c *client) start(method string, argument, reply interface{}) *call {
	started := &call{reply, make(chan error, 1)}
	c.lock.Lock()
	c.seq++
	seq := c.seq
	down := c.down
	c.pending[seq] = started
	c.lock.Unlock()
	if down != nil {
		started.done <- down
		return started
	}
	if err := c.codec.send(&Header{method, seq, ""}, argument); err != nil {
		started.done <- err
	}
	return started
}

func (c *client) call(method string, argument, reply interface{}) error {
	select {
	case err := <-c.start(method, argument, reply).done:
		return err
	case <-time.After(30 * time.Second):
		return errors.New("no answer within 30 s")
	}
}

func (c *client) receive() {
	var err error
	for err == nil {
		var header Header
		if err = c.codec.decoder.Decode(&header); err != nil {
			break
		}
		c.lock.Lock()
		waiting := c.pending[header.Seq]
		delete(c.pending, header.Seq)
		c.lock.Unlock()
		switch {
		case waiting == nil:
			err = c.codec.decoder.Decode(nil)
		case header.Error != "":
			err = c.codec.decoder.Decode(nil)
			waiting.done <- errors.New(header.Error)
		default:
			failure := c.codec.decoder.Decode(waiting.reply)
			waiting.done <- failure
		}
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	c.down = err
	for _, waiting := range c.pending {
		waiting.done <- err
	}
}
