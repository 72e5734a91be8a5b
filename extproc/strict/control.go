package strict

import "bytes"

// clean refuses control characters in the strings of a value, the keys in it
// included: C0 except tab, line feed and carriage return, and DEL. They have no
// place in a conversation, and terminals, logs and tokenizers read them as
// something else than what a person saw.
func clean(v value) *mistake {
	if !control(v) {
		return nil
	}
	return locate(v)
}

// control says that a value has a control character. It needs no structure: Scan
// refused those that stand unescaped, DEL excepted, and a backslash stands in
// strings only.
func control(v value) bool {
	if bytes.IndexByte(v, 0x7F) >= 0 {
		return true
	}
	for rest := []byte(v); ; {
		at := bytes.IndexByte(rest, '\\')
		if at < 0 {
			return false
		}
		if escapesControl(rest[at+1:]) {
			return true
		}
		rest = rest[at+2:]
	}
}

// escapesControl judges what stands behind a backslash. The digits behind \u that
// are left over are read on as text, which they look like.
func escapesControl(text []byte) bool {
	switch text[0] {
	case 'b', 'f':
		return true
	case 'u':
	default:
		return false
	}
	if text[1] != '0' || text[2] != '0' {
		return false
	}
	switch text[3] {
	case '0':
		return text[4] != '9' && text[4]|0x20 != 'a' && text[4]|0x20 != 'd'
	case '1':
		return true
	case '7':
		return text[4]|0x20 == 'f'
	}
	return false
}

// locate finds the first string with a control character in a value that has one.
// Where it is a key, the object is named.
func locate(v value) *mistake {
	if v.kind() != '{' && v.kind() != '[' {
		return is("must not have control characters")
	}
	for w := v.each(); w.next(); {
		if w.name != nil && control(w.name) {
			break
		}
		if !control(w.value) {
			continue
		}
		m := locate(w.value)
		if w.name == nil {
			return m.item(w.index)
		}
		key := w.name.inner()
		if len(key) > maxName || !plainName(key) {
			break // the client's own words do not make a path
		}
		return m.field(string(key))
	}
	return is("must not have control characters")
}
