package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Grant applies a manifest file with a ServiceAccount and its roles and
// bindings, asks for a token, and returns the path of a kubeconfig that has
// exactly these rights. What names no namespace goes into "default".
func (p *ControlPlane) Grant(t testing.TB, manifestPath string) string {
	t.Helper()
	manifest, err := os.ReadFile(manifestPath)
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t, metav1.NamespaceDefault, string(manifest))
	namespace, name, err := serviceAccountIn(string(manifest))
	if err != nil {
		t.Fatalf("%s: %v", manifestPath, err)
	}
	lifetime := int64(24 * 60 * 60)
	token, err := p.Client.CoreV1().ServiceAccounts(namespace).CreateToken(t.Context(), name, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &lifetime},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path, err := p.writeKubeconfig(namespace+"-"+name, &clientcmdapi.AuthInfo{Token: token.Status.Token})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// Allowed tells whether the user of a kubeconfig may do something everywhere.
func (p *ControlPlane) Allowed(t testing.TB, kubeconfig, verb, group, resource string) (bool, error) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: verb, Group: group, Resource: resource},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, err
	}
	return review.Status.Allowed, nil
}

// serviceAccountIn finds the only ServiceAccount of a manifest.
func serviceAccountIn(manifest string) (namespace, name string, err error) {
	objects, err := parseManifest(manifest)
	if err != nil {
		return "", "", err
	}
	for _, object := range objects {
		if object.GetKind() != "ServiceAccount" {
			continue
		}
		if name != "" {
			return "", "", fmt.Errorf("more than one ServiceAccount")
		}
		namespace, name = object.GetNamespace(), object.GetName()
	}
	if name == "" {
		return "", "", fmt.Errorf("no ServiceAccount")
	}
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return namespace, name, nil
}

// SluiceRights is the manifest that says what sluice may do in the cluster: the
// one that the environment names, else the very one that users are given.
func SluiceRights() string {
	if given := os.Getenv(rightsVariable); given != "" {
		return given
	}
	const given = "deploy/kubernetes/rights.yaml"
	root, err := above(given)
	if err != nil {
		return given // and whoever opens it will say what is wrong
	}
	return filepath.Join(root, given)
}
