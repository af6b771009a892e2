package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// Namespace makes a namespace for one story. When the story ends its objects
// go at once, so that the next story's sluice never sees them; the namespace
// itself goes when the namespace controller finds the time.
func (p *ControlPlane) Namespace(t testing.TB) string {
	t.Helper()
	made, err := p.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "story-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	name := made.Name
	t.Cleanup(func() {
		if err := p.emptyNamespace(name); err != nil {
			t.Errorf("clean up namespace %s: %v", name, err)
		}
	})
	return name
}

func (p *ControlPlane) emptyNamespace(name string) error {
	ctx := context.Background()
	now, all := *metav1.NewDeleteOptions(0), metav1.ListOptions{}
	core := p.Client.CoreV1()
	return errors.Join(
		p.Client.NetworkingV1().Ingresses(name).DeleteCollection(ctx, now, all),
		p.deleteServices(ctx, name),
		// In this order, or the upper ones make the lower ones anew.
		p.Client.AppsV1().Deployments(name).DeleteCollection(ctx, now, all),
		p.Client.AppsV1().ReplicaSets(name).DeleteCollection(ctx, now, all),
		core.Pods(name).DeleteCollection(ctx, now, all),
		p.Client.DiscoveryV1().EndpointSlices(name).DeleteCollection(ctx, now, all),
		core.Secrets(name).DeleteCollection(ctx, now, all),
		core.Namespaces().Delete(ctx, name, now),
	)
}

// deleteServices goes one by one: the typed client has no other way for Services.
func (p *ControlPlane) deleteServices(ctx context.Context, namespace string) error {
	services := p.Client.CoreV1().Services(namespace)
	list, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, service := range list.Items {
		err = errors.Join(err, services.Delete(ctx, service.Name, metav1.DeleteOptions{}))
	}
	return err
}

// Apply creates or changes every object of a manifest, as kubectl apply
// --server-side does: a field that an earlier Apply set and this one does not
// is removed. Objects that name no namespace are put into the one given.
func (p *ControlPlane) Apply(t testing.TB, namespace, manifest string) {
	t.Helper()
	if err := p.eachObject(namespace, manifest, func(objects dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		_, err := objects.Apply(t.Context(), object.GetName(), object, metav1.ApplyOptions{FieldManager: "lab", Force: true})
		return err
	}); err != nil {
		t.Fatalf("apply: %v", err)
	}
}

// Delete deletes every object that a manifest names.
func (p *ControlPlane) Delete(t testing.TB, namespace, manifest string) {
	t.Helper()
	if err := p.eachObject(namespace, manifest, func(objects dynamic.ResourceInterface, object *unstructured.Unstructured) error {
		// Not the test's context: this is called from cleanups too, and that
		// context has ended by then.
		return objects.Delete(context.Background(), object.GetName(), metav1.DeleteOptions{})
	}); err != nil {
		t.Fatalf("delete: %v", err)
	}
}

func (p *ControlPlane) eachObject(namespace, manifest string, do func(dynamic.ResourceInterface, *unstructured.Unstructured) error) error {
	objects, err := parseManifest(manifest)
	if err != nil {
		return err
	}
	for _, object := range objects {
		kind := object.GroupVersionKind()
		mapping, err := p.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
		}
		resources := p.dynamic.Resource(mapping.Resource)
		var scoped dynamic.ResourceInterface = resources
		if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
			if object.GetNamespace() == "" {
				object.SetNamespace(namespace)
			}
			scoped = resources.Namespace(object.GetNamespace())
		}
		if err := do(scoped, object); err != nil {
			return fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
		}
	}
	return nil
}

// parseManifest reads YAML documents, empty ones left out.
func parseManifest(manifest string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(manifest)), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("manifest: %w", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
