"""The node of the lab: plays the kubelet for the pods that the real scheduler binds to `lab-node`.

    python -m e2e.lab.node --kubeconfig F --mode process|fake --bin-dir DIR --images FILE.json --work-dir DIR

A lab has no container engine, so a container is a process: it runs in the pod's network namespace (a veth on the
bridge `cni0`), under the pod's host name, in a mount namespace of its own that shows it its volumes and its service
account token. To the API server this is a kubelet: the same status, conditions, probes, restarts and terminations.
In `fake` mode there are no processes, and pods become Ready after a delay: hundreds of them cost next to nothing.

    Node ── watches Pods ──> PodAgent ─┬─ ProcessPod ── ContainerRunner ─┬─ ContainerProcess, restarted when it ends
                                       └─ FakePod                        └─ Prober

Imports point one way, from what lives to what it is made of:

    __main__                                          the command line
    node, registration                                which pods there are, and that the node is
    process_pod, fake_pod, pod_agent                  a pod's life
    container, probes, memory, launch, process        a container's life: states, health, namespaces, the process
    machine                                           what the pods share
    environment, volumes, mounts, config, network     what a container finds around it
    statuses                                          what is reported
    images, api, pods, objects                        what is read

Where it stands in for the real thing:
- Images are entries of the `--images` file, keyed by name without tag; what is not in there, and a tag that ends with
  `missing`, cannot be pulled. The tag is given to the process as IMAGE_TAG.
- All containers see the machine's own file system. Volumes are mounted over it where the mount point exists, or where
  it can be made on an overlay of the nearest existing folder; a mount point directly below `/` that does not exist, and
  one that would hide the image's files, is left out (the log says so). Volumes are emptyDir, configMap, secret,
  projected and downwardAPI; all but tokens are written once, and `readOnly` is not enforced.
- Of `resources` a container's memory limit is kept (by looking twice a second) and nothing else. `securityContext`,
  sidecar (restartable init) containers, postStart hooks and ephemeral containers are ignored; a gRPC probe only
  connects. There is no DNS and no Service address: pods talk to pod addresses.
- A container that ends for the first time is started again at once: its `terminated` is seen as `lastState` only.
- Containers end with this agent; one that is started again begins anew with the pods that it finds.

Rights it needs: nodes (create, patch, with status), pods (list, watch, delete, patch of status),
serviceaccounts/token (create), configmaps and secrets (get).
"""
