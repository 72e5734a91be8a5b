package main

import (
	"context"
	_ "embed" // for the configuration
	"flag"
	"fmt"
	"net"
	"os/exec"

	pb "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"

	"github.com/postern-proxy/postern/test/load"
)

//go:embed noop.yaml.tmpl
var noopTemplate string

// nobody is the least that an ext_proc service can do: it lets everything go on.
type nobody struct {
	pb.UnimplementedExternalProcessorServer
}

var (
	headersGoOn = &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestHeaders{RequestHeaders: &pb.HeadersResponse{}}}
	bodyGoesOn  = &pb.ProcessingResponse{Response: &pb.ProcessingResponse_RequestBody{RequestBody: &pb.BodyResponse{}}}
)

// Process answers the headers, then the body, and ends the stream.
func (nobody) Process(conversation pb.ExternalProcessor_ProcessServer) error {
	for _, answer := range []*pb.ProcessingResponse{headersGoOn, bodyGoesOn} {
		if _, err := conversation.Recv(); err != nil {
			return err
		}
		if err := conversation.Send(answer); err != nil {
			return err
		}
	}
	return nil
}

// noop is the process of the ext_proc service that does nothing, with gRPC as it is
// by default. It prints a line once it listens, and ends when its standard input
// does.
func noop(ctx context.Context, arguments []string) error {
	flags := flag.NewFlagSet("bench noop", flag.ContinueOnError)
	socket := flags.String("listen", "", "the Unix socket to listen on")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", *socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	pb.RegisterExternalProcessorServer(server, nobody{})
	defer context.AfterFunc(untilOrphan(ctx), server.Stop)()
	fmt.Println(listener.Addr())
	return server.Serve(listener)
}

// noopHop is one Envoy that sends each request's headers and body to a service that
// does nothing: the floor of every gateway that does its work in ext_proc.
func (l *laboratory) noopHop(ctx context.Context) (load.Target, error) {
	socket := l.file("noop.sock")
	service, _, err := l.startSelf(ctx, "no-op ext_proc", "noop", "--listen", socket)
	if err != nil {
		return load.Target{}, err
	}
	address, err := l.configure("noop.yaml", noopTemplate)
	if err != nil {
		return load.Target{}, err
	}
	cmd := exec.Command(l.envoy, "-c", l.file("noop.yaml"), "--disable-hot-restart", "--log-level", "warning")
	c, err := l.start("Envoy with a no-op ext_proc", cmd)
	if err != nil {
		return load.Target{}, err
	}
	target := load.Target{
		URL: "http://" + address + chatPath, Model: model,
		Roles: l.roles(map[string][]int{roleEnvoy: {c.pid()}, roleGo: {service.pid()}}),
		Check: way{admin: l.file("noop.admin.sock"), passes: always(throughNoop)}.check,
	}
	return target, c.until(ctx, func(ctx context.Context) bool { return works(ctx, target) })
}
