package extproc

import "github.com/postern-proxy/postern/extproc/body"

// What stands in the header where "model" is there and cannot be a name. The
// route table answers both (a number, a list …; characters that no header holds),
// in the words of the lane without Go.
const (
	notText     = "[]"
	unprintable = "\uFFFD"
	longestName = 1024 // bytes; far above what the route table takes
)

// findModel reads the name of the model from a body, as the header is to hold it:
// empty where there is none, or where the body cannot be read.
func findModel(text []byte) string {
	fields, err := body.Scan(text)
	if err != nil {
		return ""
	}
	field, there := fields.Find("model")
	if !there {
		return ""
	}
	raw := field.Raw(text)
	if raw[0] == 'n' { // null
		return ""
	}
	name, isText := body.Text(raw)
	if !isText {
		return notText
	}
	if len(name) > longestName {
		return unprintable
	}
	for i := range len(name) {
		if name[i] < ' ' || name[i] == 0x7F {
			return unprintable
		}
	}
	return name
}
