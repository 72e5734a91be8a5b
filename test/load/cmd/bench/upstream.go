package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"

	"github.com/postern-proxy/postern/test/load"
)

// upstream is the mock provider's process. It prints its address, and ends when
// its standard input does, that is, with the process that started it.
func upstream(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("bench upstream", flag.ContinueOnError)
	address := flags.String("listen", "127.0.0.1:0", "where to listen")
	together := flags.Int("together", 1, "events in one write")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	server := &load.Upstream{Together: *together}
	defer context.AfterFunc(untilOrphan(ctx), server.Close)()
	fmt.Println(listener.Addr())
	err = server.Serve(listener)
	server.Close()
	return err
}

// untilOrphan is a context that ends with the standard input, that is, with the
// process that holds its other end.
func untilOrphan(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = os.Stdin.Read(make([]byte, 1))
	}()
	return ctx
}
