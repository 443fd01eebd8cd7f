// Command hostsdir prints as JSON which hosts each supported containerd asks for images of a host.
//
// It reads certs.d with the code of containerd 1.6 and 2 itself: hostsdir ROOT[:ROOT...] HOST...
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	docker1 "github.com/containerd/containerd/remotes/docker"
	config1 "github.com/containerd/containerd/remotes/docker/config"
	docker2 "github.com/containerd/containerd/v2/core/remotes/docker"
	config2 "github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/sirupsen/logrus"
)

// host is one host that containerd asks, in its order.
type host struct {
	URL     string `json:"url"`
	Resolve bool   `json:"resolve"`
	CAs     bool   `json:"cas"`
	Clients int    `json:"clients"`
}

// result is what one containerd makes of the folders. Errors holds what it logs at each pull.
type result struct {
	Hosts  []host `json:"hosts"`
	Errors string `json:"errors"`
}

func main() {
	roots := filepath.SplitList(os.Args[1])
	results := map[string]map[string]result{}
	for _, name := range os.Args[2:] {
		results[name] = map[string]result{"1.6": read(name, roots, first), "2": read(name, roots, second)}
	}
	if err := json.NewEncoder(os.Stdout).Encode(results); err != nil {
		panic(err)
	}
}

// read asks the roots in their order, as the CRI plugin does.
func read(name string, roots []string, hostsOf func(string, []string) ([]host, error)) result {
	var log bytes.Buffer
	logrus.SetOutput(&log)
	hosts, err := hostsOf(name, roots)
	if err != nil {
		fmt.Fprintln(&log, err)
	}
	return result{hosts, log.String()}
}

func first(name string, roots []string) ([]host, error) {
	options := config1.HostOptions{HostDir: dirs(roots, config1.HostDirFromRoot)}
	found, err := config1.ConfigureHosts(context.Background(), options)(name)
	hosts := []host{}
	for _, each := range found {
		resolves := each.Capabilities.Has(docker1.HostCapabilityResolve | docker1.HostCapabilityPull)
		hosts = append(hosts, describe(each.Scheme+"://"+each.Host+each.Path, resolves, each.Client))
	}
	return hosts, err
}

func second(name string, roots []string) ([]host, error) {
	options := config2.HostOptions{HostDir: dirs(roots, config2.HostDirFromRoot)}
	found, err := config2.ConfigureHosts(context.Background(), options)(name)
	hosts := []host{}
	for _, each := range found {
		resolves := each.Capabilities.Has(docker2.HostCapabilityResolve | docker2.HostCapabilityPull)
		hosts = append(hosts, describe(each.Scheme+"://"+each.Host+each.Path, resolves, each.Client))
	}
	return hosts, err
}

// dirs returns the first folder of a host in the roots.
func dirs(roots []string, fromRoot func(string) func(string) (string, error)) func(string) (string, error) {
	return func(name string) (dir string, err error) {
		for _, root := range roots {
			if dir, err = fromRoot(root)(name); dir != "" {
				return dir, nil
			}
		}
		return dir, err
	}
}

func describe(url string, resolves bool, client *http.Client) host {
	tls := client.Transport.(*http.Transport).TLSClientConfig
	return host{url, resolves, tls.RootCAs != nil, len(tls.Certificates)}
}
