package hold

import "slices"

// Most is how many bytes of an answer are held at most. It is far below what Envoy
// buffers for an answer.
const Most = 16 << 10

// What a callback tells Envoy (proxy-wasm's Action).
const (
	goOn = 0
	wait = 1
)

// What Envoy is asked for (proxy-wasm's enumerations).
const (
	answerBody    = 1
	answerHeaders = 2
)

// Memory: texts and two cells for what Envoy gives back, then the room that it writes
// into, then the table.
const (
	nameStatus   = ":status"
	nameType     = "content-type"
	nameEncoding = "content-encoding"
	eventStream  = "text/event-stream"
	dataField    = "data:"
	badGateway   = "502"

	atStatus   = 16
	atType     = 32
	atEncoding = 48
	atStream   = 80
	atField    = 112
	atBad      = 120
	atPointer  = 128 // where what was asked for is
	atSize     = 132 // its length

	page    = 64 << 10
	atRoom  = 1 * page // Envoy writes one thing at a time here
	room    = 1 * page
	atTable = atRoom + room
	entries = 1 << 16
	pages   = (atTable + entries*entrySize) / page
)

// An entry is the number of a held answer, how the bytes up to here have been read, and
// how many those are. The number is never 0.
const (
	entrySize  = 16
	entryShift = 4
	ofNumber   = 0
	ofState    = 4
	ofRead     = 8
)

// How the bytes of a stream have been read: so many bytes of "data:" at the beginning of
// a line, or one of these.
const (
	inData   = len(dataField) // the line is one of data
	inOther  = inData + 1     // it is another
	anyBytes = inData + 2     // no stream: the first byte is the beginning
)

// The functions, those of Envoy first.
const (
	getHeader = iota
	getBuffer
	setHeader
	abiVersion
	allocate
	onHeaders
	onBody
)

// The names that the program and Envoy call each other by, as proxy-wasm has them.
const (
	callHeader   = "proxy_get_header_map_value"
	callBuffer   = "proxy_get_buffer_bytes"
	callSet      = "proxy_replace_header_map_value"
	callVersion  = "proxy_abi_version_0_2_1"
	callAllocate = "proxy_on_memory_allocate"
	callHeaders  = "proxy_on_response_headers"
	callBody     = "proxy_on_response_body"
)

// Capabilities are the calls that Envoy has to allow, in both directions.
func Capabilities() []string {
	return []string{callHeader, callBuffer, callSet, callVersion, callAllocate, callHeaders, callBody}
}

// Module is the program in WebAssembly's binary form, for version 0.2.1 of proxy-wasm.
func Module() []byte {
	const toVersion, toAllocate, toHeaders, toAsk = 0, 1, 2, 3
	return slices.Concat(
		[]byte{0, 'a', 's', 'm', 1, 0, 0, 0},
		section(sectionTypes, signature(0, 0), signature(1, 1), signature(3, 1), signature(5, 1)),
		section(sectionImports,
			imported(callHeader, toAsk),
			imported(callBuffer, toAsk),
			imported(callSet, toAsk)),
		section(sectionFunctions, signless(toVersion), signless(toAllocate), signless(toHeaders), signless(toHeaders)),
		section(sectionMemory, append([]byte{1}, append(signless(pages), signless(pages)...)...)),
		section(sectionExports,
			exported("memory", kindMemory, 0),
			exported(callVersion, kindFunction, abiVersion),
			exported(callAllocate, kindFunction, allocate),
			exported(callHeaders, kindFunction, onHeaders),
			exported(callBody, kindFunction, onBody)),
		section(sectionCode, function(0, new(code)), allocation(), headers(), body()),
		section(sectionData,
			data(atStatus, nameStatus), data(atType, nameType), data(atEncoding, nameEncoding),
			data(atStream, eventStream), data(atField, dataField), data(atBad, badGateway)),
	)
}

// allocation gives Envoy the room, whatever was in it; nothing if that is too small.
func allocation() []byte {
	c := new(code)
	c.get(0).number(room).op(opGtU).when().answer(0).end()
	c.number(atRoom)
	return function(0, c)
}

// ask puts on the stack whether a header is not there.
func (c *code) ask(at int, name string) *code {
	return c.number(answerHeaders).number(at).number(len(name)).number(atPointer).number(atSize).call(getHeader)
}

// fail makes the answer one that sends a request on.
func (c *code) fail() *code {
	c.number(answerHeaders).number(atStatus).number(len(nameStatus)).number(atBad).number(len(badGateway)).call(setHeader)
	return c.op(opDrop)
}

// entry puts an answer's entry on the stack.
func (c *code) entry(number int) *code {
	return c.get(number).number(entries - 1).op(opAnd).number(entryShift).op(opShl).number(atTable).op(opAdd)
}

// headers (answer, count, last) begins to hold.
func headers() []byte {
	const answer, last, at, i, state = 0, 2, 3, 4, 5
	c := new(code)
	c.ask(atStatus, nameStatus).when().answer(goOn).end()
	c.number(0).load(atPointer).load8(0).number('2').op(opNe).when().answer(goOn).end()

	c.number(anyBytes).set(state)
	c.block() // left if the answer is no stream of events that can be read
	c.ask(atType, nameType).brIf(0)
	c.number(0).load(atSize).number(len(eventStream)).op(opLtU).brIf(0)
	c.loop() // letters in lower case
	c.get(i).number(0).load(atPointer).op(opAdd).load8(0).number(0x20).op(opOr)
	c.get(i).load8(atStream).op(opNe).brIf(1)
	c.get(i).number(1).op(opAdd).tee(i).number(len(eventStream)).op(opLtU).brIf(0)
	c.end()
	c.ask(atEncoding, nameEncoding).op(opEqz).brIf(0)
	c.number(0).set(state)
	c.end()

	c.get(last).when() // nothing will come
	c.get(state).number(anyBytes).op(opNe).when().fail().end()
	c.answer(goOn)
	c.end()
	c.entry(answer).tee(at).get(answer).store(ofNumber)
	c.get(at).get(state).store(ofState)
	c.get(at).number(0).store(ofRead)
	c.number(wait)
	return function(3, c)
}

// body (answer, held, last) sees the bytes that are held, the new ones at their end.
func body() []byte {
	const answer, held, last, at, state, next, end, char = 0, 1, 2, 3, 4, 5, 6, 7
	c := new(code)
	c.entry(answer).tee(at).load(ofNumber).get(answer).op(opNe).when().answer(goOn).end()
	c.block() // left to let go
	c.get(at).load(ofState).set(state)
	c.get(held).get(at).load(ofRead).op(opGtU).when() // there is something new
	c.get(state).number(anyBytes).op(opEq).brIf(1)

	// As many bytes as may be held. Where Envoy has none after all there is no reason to wait.
	c.number(answerBody).get(at).load(ofRead).number(Most).number(atPointer).number(atSize).call(getBuffer).brIf(1)
	c.number(0).load(atSize).op(opEqz).brIf(1)
	c.number(0).load(atPointer).tee(next).number(0).load(atSize).op(opAdd).set(end)
	c.loop()
	c.get(next).load8(0).tee(char).number('\n').op(opEq)
	c.get(char).number('\r').op(opEq).op(opOr).when()
	c.get(state).number(inData).op(opEq).brIf(3) // a line of data is there
	c.number(0).set(state)
	c.otherwise()
	c.get(state).number(inData).op(opLtU).when()
	c.get(char).get(state).load8(atField).op(opEq).when()
	c.get(state).number(1).op(opAdd).set(state)
	c.otherwise()
	c.number(inOther).set(state)
	c.end()
	c.end()
	c.end()
	c.get(next).number(1).op(opAdd).tee(next).get(end).op(opLtU).brIf(0)
	c.end()

	c.get(at).get(state).store(ofState)
	c.get(at).get(at).load(ofRead).number(0).load(atSize).op(opAdd).store(ofRead)
	c.get(at).load(ofRead).number(Most).op(opGeU).brIf(1)
	c.end()

	c.get(last).op(opEqz).when().answer(wait).end()
	// It ended before it began: no answer, unless it is no stream or the line was the last.
	c.get(state).number(inData).op(opEq).brIf(0)
	c.get(state).number(anyBytes).op(opEq).brIf(0)
	c.fail()
	c.end()

	c.get(at).number(0).store(ofNumber)
	c.number(goOn)
	return function(5, c)
}
