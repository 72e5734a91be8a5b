package xds

import (
	"fmt"

	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// check applies the constraints that Envoy's own messages carry, also to what is
// packed inside others, so that most of what Envoy would refuse is an error here
// and never pushed.
func check(snapshot *cache.Snapshot) error {
	for _, kind := range []resource.Type{
		resource.ListenerType, resource.RouteType, resource.ClusterType,
		resource.SecretType, resource.ExtensionConfigType,
	} {
		for name, item := range snapshot.GetResources(kind) {
			if err := checkMessage(item); err != nil {
				return fmt.Errorf("%s %s: %w", shortType(kind), name, err)
			}
		}
	}
	return nil
}

func checkMessage(m proto.Message) error {
	if v, ok := m.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return err
		}
	}
	return checkPacked(m.ProtoReflect())
}

// checkPacked looks for messages inside m that are packed into an Any.
func checkPacked(m protoreflect.Message) (err error) {
	if packed, ok := m.Interface().(*anypb.Any); ok {
		if packed.GetTypeUrl() == "" {
			return nil
		}
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return err
		}
		return checkMessage(inner)
	}
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		err = checkField(field, value)
		return err == nil
	})
	return err
}

func checkField(field protoreflect.FieldDescriptor, value protoreflect.Value) (err error) {
	switch {
	case field.IsMap() && field.MapValue().Message() != nil:
		value.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
			err = checkPacked(item.Message())
			return err == nil
		})
	case field.IsList() && field.Message() != nil:
		for i := range value.List().Len() {
			if err := checkPacked(value.List().Get(i).Message()); err != nil {
				return err
			}
		}
	case field.Message() != nil && !field.IsMap():
		return checkPacked(value.Message())
	}
	return err
}
