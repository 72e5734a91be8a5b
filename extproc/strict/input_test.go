package strict_test

import (
	"strings"
	"testing"

	"github.com/postern-proxy/postern/extproc/strict"
)

func TestResponse(t *testing.T) {
	input := func(inner string) string { return `{"model":"m","input":` + inner + `}` }
	with := func(fields string) string { return `{"model":"m","input":"hi",` + fields + `}` }
	check(t, strict.Response, map[string]row{
		"a string":                   {input(`"hi"`), ""},
		"a message":                  {input(`[{"role":"user","content":"hi"}]`), ""},
		"a message that says so":     {input(`[{"type":"message","role":"developer","content":[{"type":"input_text","text":"hi"}]}]`), ""},
		"items of other types":       {input(`[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"item_reference","id":"x"},{"type":"new_thing","role":"any"}]`), ""},
		"no input":                   {`{"model":"m"}`, "input"},
		"input null":                 {input(`null`), "input"},
		"input a number":             {input(`1`), "input"},
		"input an object":            {input(`{}`), "input"},
		"input an empty list":        {input(`[]`), "input"},
		"goes on from a response":    {`{"model":"m","previous_response_id":"r"}`, ""},
		"goes on with nothing":       {`{"model":"m","conversation":"c","input":[]}`, ""},
		"a stored prompt":            {`{"model":"m","prompt":{"id":"p"}}`, ""},
		"an item a string":           {input(`["hi"]`), "input[0]"},
		"an item of nothing":         {input(`[{"content":"hi"}]`), "input[0]"},
		"an item's type a number":    {input(`[{"type":1}]`), "input[0].type"},
		"a role of another world":    {input(`[{"role":"user","content":"hi"},{"role":"tool","content":"hi"}]`), "input[1].role"},
		"a message without a role":   {input(`[{"type":"message","content":"hi"}]`), "input[0].role"},
		"a message without content":  {input(`[{"role":"user"}]`), "input[0].content"},
		"a message of a number":      {input(`[{"role":"user","content":1}]`), "input[0].content"},
		"a part a string":            {input(`[{"role":"user","content":["hi"]}]`), "input[0].content[0]"},
		"a part without a type":      {input(`[{"role":"user","content":[{"text":"hi"}]}]`), "input[0].content[0].type"},
		"a part's text a number":     {input(`[{"role":"user","content":[{"type":"input_text","text":1}]}]`), "input[0].content[0].text"},
		"4097 items":                 {input(`[` + repeat(`{"type":"x"}`, 4097) + `]`), "input"},
		"input over the limit":       {input(`"` + strings.Repeat("x", 10<<20+1) + `"`), "input"},
		"a control character":        {input(`"\u0000"`), "input"},
		"a control character inside": {input(`[{"role":"user","content":[{"type":"input_text","text":"\b"}]}]`), "input[0].content[0].text"},
		"instructions":               {with(`"instructions":"be kind"`), ""},
		"instructions null":          {with(`"instructions":null`), ""},
		"instructions a list":        {with(`"instructions":["be kind"]`), "instructions"},
		"instructions with DEL":      {with("\"instructions\":\"\x7f\""), "instructions"},
		"all numbers":                {with(`"temperature":0,"top_p":1,"max_output_tokens":16,"stream":true,"stream_options":{"include_obfuscation":false}`), ""},
		"temperature a string":       {with(`"temperature":"0"`), "temperature"},
		"top_p":                      {with(`"top_p":-1`), "top_p"},
		"max_output_tokens 0":        {with(`"max_output_tokens":0`), "max_output_tokens"},
		"stream null":                {with(`"stream":null`), ""},
		"stream a string":            {with(`"stream":"yes"`), "stream"},
		"stream options alone":       {with(`"stream_options":{}`), "stream_options"},
		"a function":                 {with(`"tools":[{"type":"function","name":"f","parameters":{}}],"tool_choice":{"type":"function","name":"f"}`), ""},
		"hosted tools":               {with(`"tools":[{"type":"web_search"},{"type":"web_search"}],"tool_choice":{"type":"web_search"}`), ""},
		"a function in chat's form":  {with(`"tools":[{"type":"function","function":{"name":"f"}}]`), "tools[0].name"},
		"a function of a bad name":   {with(`"tools":[{"type":"function","name":"a b"}]`), "tools[0].name"},
		"a tool without a type":      {with(`"tools":[{"name":"f"}]`), "tools[0].type"},
		"the same function twice":    {with(`"tools":[{"type":"function","name":"f"},{"type":"custom","name":"f"}]`), "tools[1].name"},
		"a choice of none of them":   {with(`"tools":[{"type":"function","name":"f"}],"tool_choice":{"type":"function","name":"g"}`), "tool_choice.name"},
		"a choice of another word":   {with(`"tool_choice":"f"`), "tool_choice"},
	})
}

func TestCompletion(t *testing.T) {
	prompt := func(inner string) string { return `{"model":"m","prompt":` + inner + `}` }
	check(t, strict.Completion, map[string]row{
		"a string":               {prompt(`"hi"`), ""},
		"strings":                {prompt(`["a",""]`), ""},
		"tokens":                 {prompt(`[1,2,0]`), ""},
		"lists of tokens":        {prompt(`[[1,2],[3]]`), ""},
		"no prompt":              {`{"model":"m"}`, "prompt"},
		"an empty list":          {prompt(`[]`), "prompt"},
		"an object":              {prompt(`{}`), "prompt"},
		"a mix":                  {prompt(`["a",1]`), "prompt[1]"},
		"objects":                {prompt(`[{}]`), "prompt[0]"},
		"a token below 0":        {prompt(`[1,-1]`), "prompt[1]"},
		"a token of a half":      {prompt(`[[1],[0.5]]`), "prompt[1][0]"},
		"an empty list of lists": {prompt(`[[1],[]]`), "prompt[1]"},
		"2049 strings":           {prompt(`[` + repeat(`"a"`, 2049) + `]`), "prompt"},
		"a control character":    {prompt(`["a","\u0000"]`), "prompt[1]"},
		"max_tokens 0":           {`{"prompt":"x","max_tokens":0,"logprobs":5,"best_of":20}`, ""},
		"logprobs 6":             {`{"prompt":"x","logprobs":6}`, "logprobs"},
		"best_of 21":             {`{"prompt":"x","best_of":21}`, "best_of"},
		"stream options alone":   {`{"prompt":"x","stream_options":{}}`, "stream_options"},
	})
}

func TestEmbedding(t *testing.T) {
	input := func(inner string) string { return `{"model":"m","input":` + inner + `}` }
	check(t, strict.Embedding, map[string]row{
		"a string":                 {input(`"hi"`), ""},
		"2048 strings":             {input(`[` + repeat(`"a"`, 2048) + `]`), ""},
		"tokens":                   {input(`[1,2]`), ""},
		"lists of tokens":          {input(`[[1,2],[3]]`), ""},
		"a form feed":              {input(`"page 1\fpage 2"`), ""},
		"no input":                 {`{"model":"m"}`, "input"},
		"an empty string":          {input(`""`), "input"},
		"an empty string among":    {input(`["a",""]`), "input[1]"},
		"an empty list":            {input(`[]`), "input"},
		"2049 strings":             {input(`[` + repeat(`"a"`, 2049) + `]`), "input"},
		"8193 tokens":              {input(`[` + repeat(`1`, 8193) + `]`), "input"},
		"8193 tokens in the first": {input(`[[` + repeat(`1`, 8193) + `]]`), "input[0]"},
		"true":                     {input(`true`), "input"},
		"dimensions":               {`{"input":"x","dimensions":1,"encoding_format":"base64"}`, ""},
		"dimensions 0":             {`{"input":"x","dimensions":0}`, "dimensions"},
		"dimensions a string":      {`{"input":"x","dimensions":"256"}`, "dimensions"},
		"another encoding":         {`{"input":"x","encoding_format":"hex"}`, "encoding_format"},
	})
}
