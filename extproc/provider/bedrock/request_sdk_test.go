package bedrock_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/tools/txtar"

	"github.com/postern-proxy/postern/extproc/provider/bedrock"
	fake "github.com/postern-proxy/postern/test/fake/bedrock"
)

// TestTheSDKSaysTheSame sends the call of every golden file to a strict server, which
// must take it; decodes it into the SDK's own input, which must have a place for all of
// it; and has the SDK's client send that input, which must arrive as what we sent.
func TestTheSDKSaysTheSame(t *testing.T) {
	server := fake.Start(t, fake.WithoutSignatures(),
		fake.WithModel("mistral.mistral-large-2402-v1:0", sonnet),
		fake.WithModel("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", sonnet))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := sdk.New(sdk.Options{
		Region: fake.Region, BaseEndpoint: aws.String(server.URL()), HTTPClient: &http.Client{Transport: transport},
		Credentials: keys{}, RetryMaxAttempts: 1,
	})
	files, err := filepath.Glob("testdata/requests/*.txtar")
	require.NoError(t, err)
	calls := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		require.NoError(t, err)
		in := inputOf(t, string(archive.Files[0].Data), archive.Files[1].Data)
		call, err := bedrock.Request(in)
		if err != nil {
			continue
		}
		calls++
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL()+call.Path, strings.NewReader(string(call.Body)))
			require.NoError(t, err)
			response, err := transport.RoundTrip(request)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Empty(t, server.Last().Refusal)

			require.NoError(t, sendBySDK(t, client, call))
			got := server.Last()
			assert.Equal(t, call.Path, got.Target)
			assert.JSONEq(t, string(call.Body), string(got.Body))
		})
	}
	require.GreaterOrEqual(t, calls, leastCalls)
	server.NoRefusals(t)
}

// keys are credentials for a client that has to sign; the server does not look.
type keys struct{}

func (keys) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: fake.Test.ID, SecretAccessKey: fake.Test.Secret}, nil
}

// sendBySDK decodes a call into the SDK's input, and has its client send it.
func sendBySDK(t *testing.T, client *sdk.Client, call bedrock.Call) error {
	t.Helper()
	switch in, err := decoded(call); in := in.(type) {
	case *sdk.ConverseInput:
		_, err = client.Converse(t.Context(), in)
		return err
	case *sdk.ConverseStreamInput:
		out, err := client.ConverseStream(t.Context(), in)
		if err != nil {
			return err
		}
		stream := out.GetStream()
		for range stream.Events() { // a client's next stream uses what this one's reader still reads
		}
		return stream.Close()
	case *sdk.InvokeModelInput:
		_, err = client.InvokeModel(t.Context(), in)
		return err
	default:
		return err
	}
}

// decoded is a call as the SDK's own input of its operation. What the input has no place
// for is an error.
func decoded(call bedrock.Call) (any, error) {
	place := call.Path[:strings.LastIndexByte(call.Path, '/')]
	id, err := url.PathUnescape(strings.TrimPrefix(place, "/model/"))
	if err != nil {
		return nil, err
	}
	if call.Asked.Operation == bedrock.Invoke {
		return &sdk.InvokeModelInput{ModelId: &id, Body: call.Body, ContentType: aws.String("application/json")}, nil
	}
	var body any
	if err := json.Unmarshal(call.Body, &body); err != nil {
		return nil, err
	}
	if call.Asked.Operation == bedrock.Converse {
		in := &sdk.ConverseInput{}
		err := decode(body, reflect.ValueOf(in).Elem(), "")
		in.ModelId = &id
		return in, err
	}
	in := &sdk.ConverseStreamInput{}
	err = decode(body, reflect.ValueOf(in).Elem(), "")
	in.ModelId = &id
	return in, err
}

// unions are the kinds of the SDK's unions that a request of ours may have.
var unions = map[reflect.Type][]any{
	reflect.TypeFor[types.ContentBlock](): {
		types.ContentBlockMemberText{}, types.ContentBlockMemberImage{}, types.ContentBlockMemberToolUse{},
		types.ContentBlockMemberToolResult{}, types.ContentBlockMemberReasoningContent{},
	},
	reflect.TypeFor[types.SystemContentBlock]():     {types.SystemContentBlockMemberText{}},
	reflect.TypeFor[types.ReasoningContentBlock]():  {types.ReasoningContentBlockMemberReasoningText{}, types.ReasoningContentBlockMemberRedactedContent{}},
	reflect.TypeFor[types.ImageSource]():            {types.ImageSourceMemberBytes{}},
	reflect.TypeFor[types.ToolResultContentBlock](): {types.ToolResultContentBlockMemberText{}, types.ToolResultContentBlockMemberJson{}, types.ToolResultContentBlockMemberImage{}},
	reflect.TypeFor[types.Tool]():                   {types.ToolMemberToolSpec{}},
	reflect.TypeFor[types.ToolInputSchema]():        {types.ToolInputSchemaMemberJson{}},
	reflect.TypeFor[types.ToolChoice]():             {types.ToolChoiceMemberAuto{}, types.ToolChoiceMemberAny{}, types.ToolChoiceMemberTool{}},
}

// decode puts a JSON value into one of the SDK's types, as its own decoder would if
// inputs had one. It knows nothing of names but that a member's first letter is small in
// JSON, and is strict: what there is no place for, or is of another type, is an error.
func decode(v any, to reflect.Value, at string) error {
	switch {
	case to.Type() == reflect.TypeFor[document.Interface]():
		to.Set(reflect.ValueOf(document.NewLazyDocument(v)))
		return nil
	case to.Kind() == reflect.Interface:
		return decodeUnion(v, to, at)
	case to.Kind() == reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		return decode(v, to.Elem(), at)
	case to.Type() == reflect.TypeFor[[]byte]():
		text, _ := v.(string)
		data, err := base64.StdEncoding.Strict().DecodeString(text)
		to.SetBytes(data)
		return err
	}
	switch v := v.(type) {
	case map[string]any:
		return decodeMembers(v, to, at)
	case []any:
		if to.Kind() != reflect.Slice {
			return fmt.Errorf("%s is no list", at)
		}
		to.Set(reflect.MakeSlice(to.Type(), len(v), len(v)))
		for i, one := range v {
			if err := decode(one, to.Index(i), fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return nil
	}
	return decodeScalar(v, to, at)
}

func decodeScalar(v any, to reflect.Value, at string) error {
	switch v := v.(type) {
	case string:
		if to.Kind() == reflect.String {
			to.SetString(v)
			return nil
		}
	case bool:
		if to.Kind() == reflect.Bool {
			to.SetBool(v)
			return nil
		}
	case float64:
		switch {
		case to.CanInt() && v == math.Trunc(v) && !to.OverflowInt(int64(v)):
			to.SetInt(int64(v))
			return nil
		case to.CanFloat():
			to.SetFloat(v)
			return nil
		}
	}
	return fmt.Errorf("%s cannot be %T: it is %s", at, v, to.Type())
}

func decodeMembers(v map[string]any, to reflect.Value, at string) error {
	if to.Kind() != reflect.Struct {
		return fmt.Errorf("%s is no object", at)
	}
	for name, member := range v {
		field := to.FieldByName(memberName(name))
		if !field.IsValid() || !field.CanSet() || name == "modelId" {
			return fmt.Errorf("%s.%s is not known", at, name)
		}
		if err := decode(member, field, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func decodeUnion(v any, to reflect.Value, at string) error {
	object, _ := v.(map[string]any)
	if len(object) != 1 {
		return fmt.Errorf("%s must have one member", at)
	}
	for name, member := range object {
		for _, kind := range unions[to.Type()] {
			if strings.HasSuffix(reflect.TypeOf(kind).Name(), "Member"+memberName(name)) {
				made := reflect.New(reflect.TypeOf(kind))
				to.Set(made)
				return decode(member, made.Elem().FieldByName("Value"), at+"."+name)
			}
		}
		return fmt.Errorf("%s.%s is not known", at, name)
	}
	return nil
}

func memberName(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// A decoder that takes everything would show nothing.
func TestTheDecoderIsStrict(t *testing.T) {
	for body, want := range map[string]string{
		`{"temperature":1}`: "not known",
		`{"messages":[{"role":"user","content":[{"text":"a","type":"text"}]}]}`: "one member",
		`{"messages":[{"role":"user","content":[{"words":"a"}]}]}`:              "not known",
		`{"messages":[{"role":"user","content":"a"}]}`:                          "cannot be",
		`{"messages":{}}`:                       "no object",
		`{"system":[{"text":["a"]}]}`:           "no list",
		`{"inferenceConfig":{"maxTokens":"1"}}`: "cannot be",
		`{"inferenceConfig":{"maxTokens":1.5}}`: "cannot be",
		`{"messages":[{"role":"user","content":[{"image":{"format":"png","source":{"bytes":"%"}}}]}]}`:        "base64",
		`{"messages":[{"role":"user","content":[{"toolResult":{"toolUseId":"a","name":"b","content":[]}}]}]}`: "not known",
	} {
		_, err := decoded(bedrock.Call{Path: "/model/a/converse", Body: []byte(body), Asked: bedrock.Asked{Operation: bedrock.Converse}})
		require.ErrorContains(t, err, want, body)
	}
}
