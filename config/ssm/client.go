package ssm

import (
	"context"
	"errors"
	"os"
	"os/user"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/postern-proxy/postern/config/set"
)

// The patience with AWS. Parameter Store allows three writes a second by default, so
// throttling is ordinary, and the library's own back-off, which is jittered, sits it
// out. Its bucket of retries is off: a gate asks once in ten seconds.
const (
	attempts   = 4
	maxBackoff = 5 * time.Second
	oneAttempt = 5 * time.Second
)

// Open makes a Store with the credentials and the region that AWS's own tools would
// use: environment, profile, container or machine role.
func Open(ctx context.Context, tree set.Tree) (*Store, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(oneAttempt)),
		awsconfig.WithRetryer(retryer),
	)
	if err != nil {
		return nil, errors.New("the AWS settings of this machine cannot be read: look at AWS_PROFILE and ~/.aws")
	}
	if cfg.Region == "" {
		return nil, errors.New("no AWS region is set: AWS_REGION=us-east-1, for one")
	}
	return &Store{Tree: tree, Client: ssm.NewFromConfig(cfg), Identity: sts.NewFromConfig(cfg)}, nil
}

func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = attempts, maxBackoff, ratelimit.None
	})
}

// Author is who changes something, and where.
type Author struct {
	By   string // an AWS identity, or the user of this machine
	Host string
}

// Author asks AWS who we are. Where it does not say, the user of this machine is the
// author.
func (s *Store) Author(ctx context.Context) Author {
	author := Author{By: "unknown", Host: "unknown"}
	if host, err := os.Hostname(); err == nil {
		author.Host = host
	}
	if u, err := user.Current(); err == nil {
		author.By = u.Username
	}
	if s.Identity == nil {
		return author
	}
	within, cancel := context.WithTimeout(ctx, oneAttempt)
	defer cancel()
	if who, err := s.Identity.GetCallerIdentity(within, &sts.GetCallerIdentityInput{}); err == nil && who.Arn != nil {
		author.By = *who.Arn
	}
	return author
}
