// Command certmanager is cert-manager's controllers for a self-signed authority and what it signs, and its injector.
//
// cert-manager's own commands bring ACME, Vault and the clouds along. This composes the same controllers of its
// library as its cmd/controller and cmd/cainjector do, without leader election. Its webhook is left out.
package main

import (
	"context"
	"log"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metrics "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	certmanager "github.com/cert-manager/cert-manager/pkg/client/clientset/versioned/scheme"
	"github.com/cert-manager/cert-manager/pkg/controller"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/util"

	// Each registers itself in controller.Known or as a kind of Issuer.
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
)

// workers is how many items each controller works on at once. This and options are as cert-manager's command has them.
const workers = 5

var options = controller.ContextOptions{
	Kubeconfig:    os.Getenv("KUBECONFIG"),
	IssuerOptions: controller.IssuerOptions{ClusterResourceNamespace: "kube-system"},
	CertificateOptions: controller.CertificateOptions{
		CertificateRequestMinimumBackoffDuration: time.Hour,
		CertificateRequestMaximumBackoffDuration: 32 * time.Hour,
	},
}

func main() {
	ctrl.SetLogger(klog.Background())
	ctx := ctrl.SetupSignalHandler()
	injector, err := newInjector(ctx)
	if err != nil {
		log.Fatalf("the injector cannot be made: %v", err)
	}
	if err := startControllers(ctx); err != nil {
		log.Fatalf("the controllers cannot be made: %v", err)
	}
	if err := injector.Start(ctx); err != nil {
		log.Fatalf("the injector ended: %v", err)
	}
}

// newInjector makes what writes caBundle into webhook configurations; the file of KUBECONFIG says where.
func newInjector(ctx context.Context) (ctrl.Manager, error) {
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(kubernetes.AddToScheme(scheme))
	utilruntime.Must(certmanager.AddToScheme(scheme))
	manager, err := ctrl.NewManager(util.RestConfigWithUserAgent(config, "cainjector"), ctrl.Options{
		Scheme: scheme,
		// Of Secrets it watches metadata, and reads the one it needs.
		Client:  client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Metrics: metrics.Options{BindAddress: "0"}, // none
	})
	if err != nil {
		return nil, err
	}
	return manager, cainjector.RegisterAllInjectors(ctx, manager, cainjector.SetupOptions{
		EnableCertificatesDataSource: true,
		EnabledReconcilersFor: map[string]bool{
			cainjector.MutatingWebhookConfigurationName:   true,
			cainjector.ValidatingWebhookConfigurationName: true,
		},
	})
}

// startControllers makes all controllers that are linked in, then their informers, then lets them run.
func startControllers(ctx context.Context) error {
	factory, err := controller.NewContextFactory(ctx, options)
	if err != nil {
		return err
	}
	root, err := factory.Build()
	if err != nil {
		return err
	}
	made := map[string]controller.Interface{}
	for name, construct := range controller.Known() {
		if made[name], err = construct(factory); err != nil {
			return err
		}
	}
	root.SharedInformerFactory.Start(ctx.Done())
	root.KubeSharedInformerFactory.Start(ctx.Done())
	for name, each := range made {
		go func() {
			if err := each.Run(workers, ctx); err != nil {
				log.Fatalf("%s ended: %v", name, err)
			}
		}()
	}
	return nil
}
