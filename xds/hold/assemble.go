package hold

// code is the body of a function, as WebAssembly's binary form has it: the operands of
// an operation come before it.
type code []byte

// The operations that the program needs, by their names in the specification.
const (
	opBlock    = 0x02
	opLoop     = 0x03
	opIf       = 0x04
	opElse     = 0x05
	opEnd      = 0x0b
	opBrIf     = 0x0d
	opReturn   = 0x0f
	opCall     = 0x10
	opDrop     = 0x1a
	opLocalGet = 0x20
	opLocalSet = 0x21
	opLocalTee = 0x22
	opLoad     = 0x28
	opLoad8    = 0x2d
	opStore    = 0x36
	opConst    = 0x41
	opEqz      = 0x45
	opEq       = 0x46
	opNe       = 0x47
	opLtU      = 0x49
	opGtU      = 0x4b
	opGeU      = 0x4f
	opAdd      = 0x6a
	opAnd      = 0x71
	opOr       = 0x72
	opShl      = 0x74

	typeI32   = 0x7f
	typeEmpty = 0x40
)

func (c *code) op(ops ...byte) *code { *c = append(*c, ops...); return c }

// with is an operation and its immediate.
func (c *code) with(op byte, n int) *code { *c = append(append(*c, op), signless(n)...); return c }

func (c *code) get(local int) *code { return c.with(opLocalGet, local) }
func (c *code) set(local int)       { c.with(opLocalSet, local) }
func (c *code) tee(local int) *code { return c.with(opLocalTee, local) }
func (c *code) call(f int) *code    { return c.with(opCall, f) }

// brIf leaves so many blocks if what is on the stack is not 0.
func (c *code) brIf(depth int) { c.with(opBrIf, depth) }

// number puts n on the stack.
func (c *code) number(n int) *code { *c = append(append(*c, opConst), signed(n)...); return c }

// load and store are at an offset from the address on the stack.
func (c *code) load(offset int) *code  { return c.with(opLoad, 2).more(offset) }
func (c *code) store(offset int)       { c.with(opStore, 2).more(offset) }
func (c *code) load8(offset int) *code { return c.with(opLoad8, 0).more(offset) }
func (c *code) more(n int) *code       { *c = append(*c, signless(n)...); return c }

// answer ends the function with n.
func (c *code) answer(n int) *code { return c.number(n).op(opReturn) }

// block, loop and when begin what end ends; when runs if the stack's top is not 0.
func (c *code) block()      { c.op(opBlock, typeEmpty) }
func (c *code) loop()       { c.op(opLoop, typeEmpty) }
func (c *code) when() *code { return c.op(opIf, typeEmpty) }
func (c *code) otherwise()  { c.op(opElse) }
func (c *code) end()        { c.op(opEnd) }

// function is its code with a number of locals besides its parameters.
func function(locals int, c *code) []byte {
	body := []byte{0}
	if locals > 0 {
		body = append(append([]byte{1}, signless(locals)...), typeI32)
	}
	body = append(append(body, *c...), opEnd)
	return append(signless(len(body)), body...)
}

// signature is a type of functions: so many numbers to so many.
func signature(takes, gives int) []byte {
	all := append([]byte{0x60}, signless(takes)...)
	for range takes {
		all = append(all, typeI32)
	}
	all = append(all, signless(gives)...)
	for range gives {
		all = append(all, typeI32)
	}
	return all
}

// The kinds of what is imported and exported.
const (
	kindFunction = 0
	kindMemory   = 2
)

func imported(name string, signature int) []byte {
	return append(append(append(text("env"), text(name)...), kindFunction), signless(signature)...)
}

func exported(name string, kind byte, index int) []byte {
	return append(append(text(name), kind), signless(index)...)
}

// data is text at a place of the memory.
func data(at int, content string) []byte {
	place := append(append([]byte{0, opConst}, signed(at)...), opEnd)
	return append(place, text(content)...)
}

// The sections of a module, in their order.
const (
	sectionTypes     = 1
	sectionImports   = 2
	sectionFunctions = 3
	sectionMemory    = 5
	sectionExports   = 7
	sectionCode      = 10
	sectionData      = 11
)

func section(id byte, items ...[]byte) []byte {
	body := signless(len(items))
	for _, item := range items {
		body = append(body, item...)
	}
	return append(append([]byte{id}, signless(len(body))...), body...)
}

func text(s string) []byte { return append(signless(len(s)), s...) }

// signless and signed are a number in LEB128.
func signless(n int) []byte {
	var all []byte
	for ; n > 0x7f; n >>= 7 {
		all = append(all, byte(n&0x7f)|0x80)
	}
	return append(all, byte(n&0x7f))
}

func signed(n int) []byte {
	var all []byte
	for ; n < -0x40 || n > 0x3f; n >>= 7 {
		all = append(all, byte(n&0x7f)|0x80)
	}
	return append(all, byte(n&0x7f))
}
