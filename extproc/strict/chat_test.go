package strict_test

import (
	"strings"
	"testing"

	"github.com/postern-proxy/postern/extproc/strict"
)

// user is a conversation of one message, in front of the fields a row adds.
const user = `"messages":[{"role":"user","content":"hi"}]`

// said is a chat of the messages of a row.
func said(messages string) string { return `{"model":"m","messages":[` + messages + `]}` }

// with is a right chat with more fields.
func with(fields string) string { return `{"model":"m",` + user + `,` + fields + `}` }

// called is what the messages about tool calls begin with: one call, of id "a".
const called = `{"role":"user","content":"hi"},{"role":"assistant","content":null,"tool_calls":[` + callA + `]}`

const (
	callA = `{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}`
	callB = `{"id":"b","type":"function","function":{"name":"g","arguments":""}}`
)

func part(inner string) string { return said(`{"role":"user","content":[` + inner + `]}`) }

func tools(inner string) string { return with(`"tools":[` + inner + `]`) }

const tool = `{"type":"function","function":{"name":"get_weather","parameters":{"type":"object"}}}`

func repeat(element string, n int) string {
	return strings.TrimSuffix(strings.Repeat(element+",", n), ",")
}

func TestChat(t *testing.T) {
	check(t, strict.Chat, map[string]row{
		// The list of messages.
		"one message":               {said(`{"role":"user","content":"hi"}`), ""},
		"white space everywhere":    {" { \"messages\" : [ { \"role\" :\t\"user\" , \"content\" : \"hi\" } \n] , \"n\" : 1 } ", ""},
		"no messages":               {`{"model":"m"}`, "messages"},
		"messages null":             {`{"model":"m","messages":null}`, "messages"},
		"messages empty":            {said(``), "messages"},
		"messages empty with space": {said(" \n "), "messages"},
		"messages a string":         {`{"messages":"hi"}`, "messages"},
		"messages an object":        {`{"messages":{"role":"user","content":"hi"}}`, "messages"},
		"4096 messages":             {said(repeat(`{"role":"user","content":""}`, 4096)), ""},
		"4097 messages":             {said(repeat(`{"role":"user","content":""}`, 4097)), "messages"},
		"a message a string":        {said(`{"role":"user","content":"hi"},"hi"`), "messages[1]"},
		"a message null":            {said(`null`), "messages[0]"},
		"a message a list":          {said(`[]`), "messages[0]"},
		"a message empty":           {said(`{}`), "messages[0].role"},

		// Roles.
		"every role": {said(`{"role":"developer","content":"d"},{"role":"system","content":"s"},` + called +
			`,{"role":"tool","tool_call_id":"a","content":"r"},{"role":"assistant","content":"a"},` +
			`{"role":"function","name":"f","content":"r"},{"role":"system","content":"late"},{"role":"user","content":"u"}`), ""},
		"a role of another world": {said(`{"role":"bot","content":"hi"}`), "messages[0].role"},
		"a role in capitals":      {said(`{"role":"User","content":"hi"}`), "messages[0].role"},
		"a role a number":         {said(`{"role":1,"content":"hi"}`), "messages[0].role"},
		"a role null":             {said(`{"role":null,"content":"hi"}`), "messages[0].role"},
		"a role escaped":          {said(`{"r\u006fle":"\u0075ser","content":"hi"}`), ""},
		"name":                    {said(`{"role":"user","content":"hi","name":"ann"}`), ""},
		"name null":               {said(`{"role":"user","content":"hi","name":null}`), ""},
		"name empty":              {said(`{"role":"user","content":"hi","name":""}`), "messages[0].name"},
		"name a number":           {said(`{"role":"user","content":"hi","name":7}`), "messages[0].name"},
		"name too long":           {said(`{"role":"user","content":"hi","name":"` + strings.Repeat("n", 257) + `"}`), "messages[0].name"},
		"unknown fields":          {said(`{"role":"user","content":"hi","cache_control":{"type":"ephemeral"},"x":[1,{"y":"]}"}]}`), ""},

		// Content.
		"content empty text":            {said(`{"role":"user","content":""}`), ""},
		"content missing":               {said(`{"role":"user"}`), "messages[0].content"},
		"content null":                  {said(`{"role":"user","content":null}`), "messages[0].content"},
		"content a number":              {said(`{"role":"user","content":1}`), "messages[0].content"},
		"content an object":             {said(`{"role":"user","content":{"type":"text","text":"hi"}}`), "messages[0].content"},
		"content empty list":            {said(`{"role":"user","content":[]}`), "messages[0].content"},
		"system without content":        {said(`{"role":"system"}`), "messages[0].content"},
		"assistant without content":     {said(`{"role":"assistant"}`), "messages[0].content"},
		"assistant null content":        {said(`{"role":"assistant","content":null,"tool_calls":null}`), "messages[0].content"},
		"assistant refuses":             {said(`{"role":"assistant","content":null,"refusal":"no"}`), ""},
		"assistant refuses in a number": {said(`{"role":"assistant","content":null,"refusal":0}`), "messages[0].refusal"},
		"assistant speaks":              {said(`{"role":"assistant","audio":{"id":"audio_1"}}`), ""},
		"assistant speaks namelessly":   {said(`{"role":"assistant","audio":{}}`), "messages[0].audio.id"},
		"assistant called a function":   {said(`{"role":"assistant","function_call":{"name":"f","arguments":"{}"}}`), ""},
		"function call without a name":  {said(`{"role":"assistant","function_call":{"arguments":"{}"}}`), "messages[0].function_call.name"},
		"function call without words":   {said(`{"role":"assistant","function_call":{"name":"f"}}`), "messages[0].function_call.arguments"},
		"function without a name":       {said(`{"role":"function","content":"1"}`), "messages[0].name"},
		"function with a bad name":      {said(`{"role":"function","content":"1","name":"a b"}`), "messages[0].name"},
		"function with parts":           {said(`{"role":"function","name":"f","content":[{"type":"text","text":"1"}]}`), "messages[0].content"},
		"text over the limit":           {said(`{"role":"user","content":"` + strings.Repeat("x", 10<<20+1) + `"}`), "messages[0].content"},
		"text at the limit":             {said(`{"role":"user","content":"` + strings.Repeat("x", 10<<20) + `"}`), ""},
		"user calls tools":              {said(`{"role":"user","content":"hi","tool_calls":[]}`), "messages[0].tool_calls"},

		// Parts.
		"all parts of a user": {part(`{"type":"text","text":"t"},{"type":"image_url","image_url":{"url":"https://e.org/a.png","detail":"low"}},` +
			`{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},{"type":"file","file":{"file_id":"f"}},` +
			`{"type":"file","file":{"filename":"a.pdf","file_data":"AAAA"}}`), ""},
		"a part a string":            {part(`"hi"`), "messages[0].content[0]"},
		"a part without a type":      {part(`{"text":"hi"}`), "messages[0].content[0].type"},
		"a part's type a number":     {part(`{"type":1}`), "messages[0].content[0].type"},
		"a part of an unknown type":  {part(`{"type":"text","text":"t"},{"type":"video","video":{}}`), "messages[0].content[1].type"},
		"text without text":          {part(`{"type":"text"}`), "messages[0].content[0].text"},
		"text of null":               {part(`{"type":"text","text":null}`), "messages[0].content[0].text"},
		"text of a list":             {part(`{"type":"text","text":["hi"]}`), "messages[0].content[0].text"},
		"text part over the limit":   {part(`{"type":"text","text":"` + strings.Repeat("x", 10<<20+1) + `"}`), "messages[0].content[0].text"},
		"image without image_url":    {part(`{"type":"image_url"}`), "messages[0].content[0].image_url"},
		"image_url a string":         {part(`{"type":"image_url","image_url":"https://e.org"}`), "messages[0].content[0].image_url"},
		"image without a URL":        {part(`{"type":"image_url","image_url":{}}`), "messages[0].content[0].image_url.url"},
		"image with an empty URL":    {part(`{"type":"image_url","image_url":{"url":""}}`), "messages[0].content[0].image_url.url"},
		"image with a wrong detail":  {part(`{"type":"image_url","image_url":{"url":"u","detail":"best"}}`), "messages[0].content[0].image_url.detail"},
		"audio without data":         {part(`{"type":"input_audio","input_audio":{"format":"mp3"}}`), "messages[0].content[0].input_audio.data"},
		"audio of another format":    {part(`{"type":"input_audio","input_audio":{"data":"A","format":"ogg"}}`), "messages[0].content[0].input_audio.format"},
		"audio missing":              {part(`{"type":"input_audio"}`), "messages[0].content[0].input_audio"},
		"file of nothing":            {part(`{"type":"file","file":{"filename":"a"}}`), "messages[0].content[0].file"},
		"file missing":               {part(`{"type":"file"}`), "messages[0].content[0].file"},
		"file id a number":           {part(`{"type":"file","file":{"file_id":1}}`), "messages[0].content[0].file.file_id"},
		"file data empty":            {part(`{"type":"file","file":{"file_data":""}}`), "messages[0].content[0].file.file_data"},
		"a user's refusal":           {part(`{"type":"refusal","refusal":"no"}`), "messages[0].content[0].type"},
		"an assistant's refusal":     {said(`{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}`), ""},
		"an assistant's image":       {said(`{"role":"assistant","content":[{"type":"image_url","image_url":{"url":"u"}}]}`), "messages[0].content[0].type"},
		"a refusal without its text": {said(`{"role":"assistant","content":[{"type":"refusal"}]}`), "messages[0].content[0].refusal"},
		"a system part":              {said(`{"role":"system","content":[{"type":"text","text":"t"}]}`), ""},
		"an empty system list":       {said(`{"role":"system","content":[]}`), "messages[0].content"},
		"4097 parts":                 {part(repeat(`{"type":"text","text":""}`, 4097)), "messages[0].content"},

		// Calls, by themselves.
		"calls not a list":          {said(`{"role":"assistant","tool_calls":{}}`), "messages[0].tool_calls"},
		"no calls":                  {said(`{"role":"assistant","content":"x","tool_calls":[]}`), "messages[0].tool_calls"},
		"a call a string":           {said(`{"role":"assistant","tool_calls":["a"]}`), "messages[0].tool_calls[0]"},
		"a call without an id":      {said(`{"role":"assistant","tool_calls":[{"type":"function","function":{"name":"f","arguments":""}}]}`), "messages[0].tool_calls[0].id"},
		"a call's id empty":         {said(`{"role":"assistant","tool_calls":[{"id":"","type":"function","function":{"name":"f","arguments":""}}]}`), "messages[0].tool_calls[0].id"},
		"a call's id too long":      {said(`{"role":"assistant","tool_calls":[{"id":"` + strings.Repeat("i", 257) + `","type":"function","function":{"name":"f","arguments":""}}]}`), "messages[0].tool_calls[0].id"},
		"a call without a type":     {said(`{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":""}}]}`), "messages[0].tool_calls[0].type"},
		"a call of another type":    {said(`{"role":"assistant","tool_calls":[{"id":"a","type":"search"}]}`), "messages[0].tool_calls[0].type"},
		"a call without a function": {said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function"}]}`), "messages[0].tool_calls[0].function"},
		"a call of no name":         {said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"arguments":""}}]}`), "messages[0].tool_calls[0].function.name"},
		"a call's words an object":  {said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":{}}}]}`), "messages[0].tool_calls[0].function.arguments"},
		"a custom call":             {said(`{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{"name":"f","input":"x"}}]},{"role":"tool","tool_call_id":"a","content":"r"}`), ""},
		"a custom call of nothing":  {said(`{"role":"assistant","tool_calls":[{"id":"a","type":"custom","custom":{"name":"f"}}]}`), "messages[0].tool_calls[0].custom.input"},
		"129 calls":                 {said(`{"role":"assistant","tool_calls":[` + repeat(callA, 129) + `]}`), "messages[0].tool_calls"},

		// Calls and answers.
		"called and answered":          {said(called + `,{"role":"tool","tool_call_id":"a","content":"r"}`), ""},
		"answered in parts":            {said(called + `,{"role":"tool","tool_call_id":"a","content":[{"type":"text","text":"r"}]}`), ""},
		"answered in another order":    {said(`{"role":"assistant","tool_calls":[` + callA + `,` + callB + `]},{"role":"tool","tool_call_id":"b","content":"r"},{"role":"tool","tool_call_id":"a","content":"r"}`), ""},
		"answered, escaped":            {said(called + `,{"role":"tool","tool_call_id":"\u0061","content":"r"}`), ""},
		"two rounds":                   {said(called + `,{"role":"tool","tool_call_id":"a","content":"r"},{"role":"assistant","tool_calls":[` + callB + `]},{"role":"tool","tool_call_id":"b","content":"r"},{"role":"assistant","content":"done"}`), ""},
		"the same id in a later round": {said(called + `,{"role":"tool","tool_call_id":"a","content":"r"},` + called + `,{"role":"tool","tool_call_id":"a","content":"r"}`), ""},
		"not answered at the end":      {said(called), "messages[1].tool_calls[0].id"},
		"not answered by a user":       {said(called + `,{"role":"user","content":"and?"}`), "messages[1].tool_calls[0].id"},
		"not answered by a system":     {said(called + `,{"role":"system","content":"s"},{"role":"tool","tool_call_id":"a","content":"r"}`), "messages[1].tool_calls[0].id"},
		"half answered":                {said(`{"role":"assistant","tool_calls":[` + callA + `,` + callB + `]},{"role":"tool","tool_call_id":"a","content":"r"},{"role":"user","content":"?"}`), "messages[0].tool_calls[1].id"},
		"half answered at the end":     {said(`{"role":"assistant","tool_calls":[` + callA + `,` + callB + `]},{"role":"tool","tool_call_id":"b","content":"r"}`), "messages[0].tool_calls[0].id"},
		"answered twice":               {said(called + `,{"role":"tool","tool_call_id":"a","content":"r"},{"role":"tool","tool_call_id":"a","content":"r"}`), "messages[3].tool_call_id"},
		"an answer to nothing":         {said(`{"role":"user","content":"hi"},{"role":"tool","tool_call_id":"a","content":"r"}`), "messages[1].tool_call_id"},
		"an answer to another call":    {said(called + `,{"role":"tool","tool_call_id":"z","content":"r"}`), "messages[2].tool_call_id"},
		"an answer too late":           {said(called + `,{"role":"tool","tool_call_id":"a","content":"r"},{"role":"user","content":"hi"},{"role":"tool","tool_call_id":"a","content":"r"}`), "messages[4].tool_call_id"},
		"an answer without an id":      {said(called + `,{"role":"tool","content":"r"}`), "messages[2].tool_call_id"},
		"an answer's id a number":      {said(called + `,{"role":"tool","tool_call_id":1,"content":"r"}`), "messages[2].tool_call_id"},
		"an answer of nothing":         {said(called + `,{"role":"tool","tool_call_id":"a"}`), "messages[2].content"},
		"an answer of an image":        {said(called + `,{"role":"tool","tool_call_id":"a","content":[{"type":"image_url","image_url":{"url":"u"}}]}`), "messages[2].content[0].type"},
		"the same id twice":            {said(`{"role":"assistant","tool_calls":[` + callA + `,` + callA + `]}`), "messages[0].tool_calls[1].id"},

		// Tools.
		"a tool":                      {tools(tool), ""},
		"no tools":                    {tools(``), ""},
		"tools null":                  {with(`"tools":null`), ""},
		"tools an object":             {with(`"tools":{}`), "tools"},
		"a tool a string":             {tools(`"get_weather"`), "tools[0]"},
		"a tool without a type":       {tools(`{"function":{"name":"f"}}`), "tools[0].type"},
		"a tool of another type":      {tools(tool + `,{"type":"web_search"}`), "tools[1].type"},
		"a tool without its function": {tools(`{"type":"function"}`), "tools[0].function"},
		"a tool without a name":       {tools(`{"type":"function","function":{}}`), "tools[0].function.name"},
		"a tool's name empty":         {tools(`{"type":"function","function":{"name":""}}`), "tools[0].function.name"},
		"a tool's name with a dot":    {tools(`{"type":"function","function":{"name":"a.b"}}`), "tools[0].function.name"},
		"a tool's name with a NUL":    {tools(`{"type":"function","function":{"name":"a\u0000"}}`), "tools[0].function.name"},
		"a tool's name of 64":         {tools(`{"type":"function","function":{"name":"` + strings.Repeat("a", 64) + `"}}`), ""},
		"a tool's name of 65":         {tools(`{"type":"function","function":{"name":"` + strings.Repeat("a", 65) + `"}}`), "tools[0].function.name"},
		"a tool's schema a string":    {tools(`{"type":"function","function":{"name":"f","parameters":"{}"}}`), "tools[0].function.parameters"},
		"the same tool twice":         {tools(tool + `,` + tool), "tools[1].function.name"},
		"129 tools":                   {tools(numbered(129)), "tools"},
		"128 tools":                   {tools(numbered(128)), ""},
		"a custom tool":               {tools(`{"type":"custom","custom":{"name":"f"}}`), ""},
		"choice auto":                 {with(`"tool_choice":"auto","tools":[` + tool + `]`), ""},
		"choice of another word":      {with(`"tool_choice":"always"`), "tool_choice"},
		"choice a number":             {with(`"tool_choice":1`), "tool_choice"},
		"choice of a tool":            {with(`"tool_choice":{"type":"function","function":{"name":"get_weather"}},"tools":[` + tool + `]`), ""},
		"choice of no such tool":      {with(`"tool_choice":{"type":"function","function":{"name":"nope"}},"tools":[` + tool + `]`), "tool_choice.function.name"},
		"choice without tools":        {with(`"tool_choice":{"type":"function","function":{"name":"nope"}}`), "tool_choice.function.name"},
		"choice of no name":           {with(`"tool_choice":{"type":"function","function":{}}`), "tool_choice.function.name"},
		"choice among some":           {with(`"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}},"tools":[` + tool + `]`), ""},

		// Numbers and switches.
		"everything at its bounds":       {with(`"temperature":2,"top_p":0,"n":128,"max_tokens":1,"presence_penalty":-2.0,"stop":["a","b","c","d"],"stream":true,"stream_options":{"include_usage":true},"logprobs":true,"top_logprobs":20`), ""},
		"everything null":                {with(`"temperature":null,"top_p":null,"n":null,"max_tokens":null,"stop":null,"stream":null,"stream_options":null,"logprobs":null,"top_logprobs":null,"response_format":null,"tool_choice":null`), ""},
		"temperature over 2":             {with(`"temperature":2.0001`), "temperature"},
		"temperature below 0":            {with(`"temperature":-0.1`), "temperature"},
		"temperature a string":           {with(`"temperature":"1"`), "temperature"},
		"temperature true":               {with(`"temperature":true`), "temperature"},
		"temperature in exponents":       {with(`"temperature":1e0`), ""},
		"top_p over 1":                   {with(`"top_p":1.1`), "top_p"},
		"penalty over 2":                 {with(`"frequency_penalty":3`), "frequency_penalty"},
		"n 0":                            {with(`"n":0`), "n"},
		"n 129":                          {with(`"n":129`), "n"},
		"n 1.5":                          {with(`"n":1.5`), "n"},
		"n 1.0":                          {with(`"n":1.0`), "n"},
		"n a string":                     {with(`"n":"1"`), "n"},
		"max_tokens 0":                   {with(`"max_tokens":0`), "max_tokens"},
		"max_tokens beyond integers":     {with(`"max_tokens":99999999999999999999`), "max_tokens"},
		"max_completion_tokens negative": {with(`"max_completion_tokens":-1`), "max_completion_tokens"},
		"max_completion_tokens 1e3":      {with(`"max_completion_tokens":1e3`), "max_completion_tokens"},
		"five stops":                     {with(`"stop":["a","b","c","d","e"]`), "stop"},
		"a stop a number":                {with(`"stop":["a",1]`), "stop[1]"},
		"stop a number":                  {with(`"stop":1`), "stop"},
		"stop a string":                  {with(`"stop":"\n"`), ""},
		"stream a string":                {with(`"stream":"true"`), "stream"},
		"stream a number":                {with(`"stream":1`), "stream"},
		"stream options alone":           {with(`"stream_options":{"include_usage":true}`), "stream_options"},
		"stream options, no stream":      {with(`"stream":false,"stream_options":{}`), "stream_options"},
		"stream options a list":          {with(`"stream":true,"stream_options":[]`), "stream_options"},
		"include_usage a number":         {with(`"stream":true,"stream_options":{"include_usage":1}`), "stream_options.include_usage"},
		"logprobs a number":              {with(`"logprobs":5`), "logprobs"},
		"top_logprobs alone":             {with(`"top_logprobs":5`), "top_logprobs"},
		"top_logprobs, not wanted":       {with(`"top_logprobs":5,"logprobs":false`), "top_logprobs"},
		"top_logprobs 21":                {with(`"logprobs":true,"top_logprobs":21`), "top_logprobs"},
		"format text":                    {with(`"response_format":{"type":"text"}`), ""},
		"format by a schema":             {with(`"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{}}}`), ""},
		"format a string":                {with(`"response_format":"json"`), "response_format"},
		"format without a type":          {with(`"response_format":{}`), "response_format.type"},
		"format of another type":         {with(`"response_format":{"type":"xml"}`), "response_format.type"},
		"format without a schema":        {with(`"response_format":{"type":"json_schema"}`), "response_format.json_schema"},
		"format of a nameless schema":    {with(`"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`), "response_format.json_schema.name"},
		"unknown fields of the request":  {with(`"reasoning_effort":9,"x":{"messages":[1]}`), ""},
		"the first mistake is told":      {with(`"top_p":7,"temperature":7`), "top_p"},
	})
}

// numbered are n tools of different names.
func numbered(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = `{"type":"function","function":{"name":"f` + strings.Repeat("x", i%60) + strings.Repeat("_", i/60) + `"}}`
	}
	return strings.Join(all, ",")
}

func TestControlCharactersOfAConversation(t *testing.T) {
	check(t, strict.Chat, map[string]row{
		"tab, line feed, return":   {said(`{"role":"user","content":"a\tb\nc\rd\u0009\u000a\u000D\u0020\u007e"}`), ""},
		"escapes of no control":    {said(`{"role":"user","content":"\\u0000 \\b \\\\f \" \/ \u00e9 \ud83d\ude00"}`), ""},
		"NUL":                      {said(`{"role":"user","content":"a\u0000b"}`), "messages[0].content"},
		"backspace":                {said(`{"role":"user","content":"ok"},{"role":"user","content":"\b"}`), "messages[1].content"},
		"form feed":                {said(`{"role":"user","content":"\\\f"}`), "messages[0].content"},
		"escape":                   {said(`{"role":"user","content":"\u001B[31m"}`), "messages[0].content"},
		"unit separator":           {said(`{"role":"user","content":"\u001f"}`), "messages[0].content"},
		"vertical tab":             {said(`{"role":"user","content":"\u000b"}`), "messages[0].content"},
		"shift out":                {said(`{"role":"user","content":"\u000E"}`), "messages[0].content"},
		"DEL":                      {said("{\"role\":\"user\",\"content\":\"\x7f\"}"), "messages[0].content"},
		"DEL escaped":              {said(`{"role":"user","content":"\u007F"}`), "messages[0].content"},
		"at the end":               {said(`{"role":"user","content":"x\u0000"}`), "messages[0].content"},
		"in a part":                {part(`{"type":"text","text":"ok"},{"type":"text","text":"\u0001"}`), "messages[0].content[1].text"},
		"in a URL":                 {part(`{"type":"image_url","image_url":{"url":"\u0001"}}`), "messages[0].content[0].image_url.url"},
		"in a name":                {said(`{"role":"user","content":"hi","name":"a\u0007"}`), "messages[0].name"},
		"in a call's words":        {said(`{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"\u0000"}}]},{"role":"tool","tool_call_id":"a","content":"r"}`), "messages[0].tool_calls[0].function.arguments"},
		"in an answer":             {said(called + `,{"role":"tool","tool_call_id":"a","content":"\u0000"}`), "messages[2].content"},
		"in a field nobody knows":  {said(`{"role":"user","content":"hi","x":{"y":["ok","\u0000"]}}`), "messages[0].x.y[1]"},
		"in a key":                 {said(`{"role":"user","content":"hi","\u0000":1}`), "messages[0]"},
		"below a key of all sorts": {said(`{"role":"user","content":"hi","a.b c":"\u0000"}`), "messages[0]"},
		"elsewhere in the request": {with(`"user":"\u0000","metadata":{"a":"\b"}`), ""},
	})
}
