// Command coredns is CoreDNS with the seven plugins that a node here needs, instead of fifty.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/ready"
)

// The order in which a query passes the plugins; those that are not named here are not known in a Corefile.
func init() {
	dnsserver.Directives = []string{"errors", "log", "health", "ready", "cache", "hosts", "kubernetes"}
}

func main() { coremain.Run() }
