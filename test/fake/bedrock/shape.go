package bedrock

import (
	"encoding/base64"
	"fmt"
	"math"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/schemas"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/traits"
	"github.com/tidwall/gjson"
)

// shape compares a body with the service's own model, which the SDK carries: every
// member is known, written once, not null, and of its type. The service itself drops
// what it does not know; a test must hear of it.
func shape(r *Request, _ model) *Exception {
	schema := schemas.ConverseRequest
	if r.Operation == "converse-stream" {
		schema = schemas.ConverseStreamRequest
	}
	return fits(gjson.ParseBytes(r.Body), schema, "")
}

func fits(value gjson.Result, schema *smithy.Schema, at string) *Exception {
	switch schema.Type() {
	case smithy.ShapeTypeStructure:
		return members(value, schema, at)
	case smithy.ShapeTypeUnion:
		return choice(value, schema, at)
	case smithy.ShapeTypeList:
		return elements(value, schema, at)
	case smithy.ShapeTypeMap:
		return entries(value, schema, at)
	case smithy.ShapeTypeBlob:
		_, err := base64.StdEncoding.Strict().DecodeString(value.String())
		return typed(value.Type == gjson.String && err == nil, at, "a Blob: it is not base64", value)
	case smithy.ShapeTypeString, smithy.ShapeTypeEnum:
		return typed(value.Type == gjson.String, at, "a String", value)
	case smithy.ShapeTypeBoolean:
		return typed(value.IsBool(), at, "a Boolean", value)
	case smithy.ShapeTypeInteger, smithy.ShapeTypeLong:
		return typed(value.Type == gjson.Number && value.Num == math.Trunc(value.Num), at, "an Integer", value)
	case smithy.ShapeTypeFloat, smithy.ShapeTypeDouble:
		return typed(value.Type == gjson.Number, at, "a Float", value)
	default: // documents hold anything
	}
	return nil
}

func choice(value gjson.Result, schema *smithy.Schema, at string) *Exception {
	if fault := members(value, schema, at); fault != nil {
		return fault
	}
	if n := len(value.Map()); n != 1 {
		return Validation.With("The %s object at %s must set exactly one of its keys, and sets %d.", schema.ID().Name, at, n)
	}
	return nil
}

func typed(right bool, at, kind string, value gjson.Result) *Exception {
	if right {
		return nil
	}
	return Serialization.With("%s at %s can not be converted to %s", value.Type, at, kind)
}

func members(value gjson.Result, schema *smithy.Schema, at string) *Exception {
	if !value.IsObject() {
		return typed(false, at, "a "+schema.ID().Name, value)
	}
	var fault *Exception
	seen := map[string]bool{}
	value.ForEach(func(key, member gjson.Result) bool {
		name := key.String()
		known := schema.Member(name)
		switch {
		case known == nil, inPath(known):
			fault = Validation.With("The field %q is not known to the service.", join(at, name))
		case seen[name]:
			fault = Validation.With("The field %q is there twice.", join(at, name))
		case member.Type == gjson.Null:
			fault = Validation.With("The field %q is null.", join(at, name))
		default:
			fault = fits(member, known, join(at, name))
		}
		seen[name] = true
		return fault == nil
	})
	return fault
}

// inPath says that a member is part of the path, and so has no business in a body.
func inPath(schema *smithy.Schema) bool {
	_, label := smithy.SchemaTrait[*traits.HTTPLabel](schema)
	return label
}

func elements(value gjson.Result, schema *smithy.Schema, at string) *Exception {
	if !value.IsArray() {
		return typed(false, at, "a list", value)
	}
	for i, element := range value.Array() {
		if fault := fits(element, schema.ListMember(), fmt.Sprintf("%s.%d", at, i)); fault != nil {
			return fault
		}
	}
	return nil
}

func entries(value gjson.Result, schema *smithy.Schema, at string) *Exception {
	if !value.IsObject() {
		return typed(false, at, "a map", value)
	}
	var fault *Exception
	value.ForEach(func(key, entry gjson.Result) bool {
		fault = fits(entry, schema.MapValue(), join(at, key.String()))
		return fault == nil
	})
	return fault
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
