#!/usr/bin/env bash
# A kind cluster with Flux, ingress-nginx, Prometheus, Fluxcanary and podinfo. Safe to run again after a failure.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cluster=${CLUSTER:-fluxcanary}
context=kind-$cluster
image=fluxcanary:kind

step() { printf '\n==> %s\n' "$*"; }
kube() { kubectl --context "$context" "$@"; }

missing=0
for program in docker kind kubectl flux; do
  if ! command -v "$program" >/dev/null; then
    echo "$program is needed and not on the PATH" >&2
    missing=1
  fi
done
if [ "$missing" != 0 ]; then exit 1; fi

if ! kind get clusters | grep -qx "$cluster"; then
  step "the cluster $cluster"
  kind create cluster --name "$cluster" --config "$here/cluster.yaml" --wait 2m
fi

step "Flux"
flux install --context "$context" --components source-controller,kustomize-controller,helm-controller

step "ingress-nginx and Prometheus"
kube apply --kustomize "$here"
kube wait --for condition=Ready --namespace flux-system helmrelease/ingress-nginx --timeout 5m
kube rollout status --namespace monitoring deployment/prometheus --timeout 3m

step "the operator's image"
docker build --file "$root/deploy/Dockerfile" --tag "$image" "$root"
kind load docker-image "$image" --name "$cluster"

step "Fluxcanary"
kube apply --server-side --kustomize "$here/operator"
kube wait --for condition=Established crd/canaries.fluxcanary.dev --timeout 1m
kube rollout status --namespace fluxcanary-system deployment/fluxcanary --timeout 3m

step "podinfo and its Canary"
kube apply --filename "$here/podinfo.yaml"
kube wait --for condition=Ready --namespace flux-system kustomization/podinfo-staging --timeout 5m
kube wait --for condition=Ready --namespace staging canary/podinfo --timeout 2m

cat <<END

It is up. podinfo answers at http://localhost/ for the host podinfo.localhost:
  curl -H 'Host: podinfo.localhost' http://localhost/
Watch a release go through:
  kubectl --context $context get canary -n staging -w
  kubectl --context $context patch gitrepository podinfo -n flux-system --type merge -p '{"spec":{"ref":{"tag":"6.9.0"}}}'
To remove everything: kind delete cluster --name $cluster
END
