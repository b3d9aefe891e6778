"""A real one-node Kubernetes on a Linux machine with root and no container engine.

etcd, API server, controllers, containerd, kubelet, kube-proxy and CoreDNS, all in namespaces of their own: ending one
process ends them with every mount, interface and rule that they made.

    python -m tests.support.one_node up          prints the kubeconfig's path
    python -m tests.support.one_node down [--purge]
"""
