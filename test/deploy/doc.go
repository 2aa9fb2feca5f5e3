// Package deploy proves docker-compose.yml, the Dockerfile and what else deploy/ has, without
// a container engine: it starts the processes that the files name, with the real breakwater,
// Envoy and Prometheus in the place of their images.
//
// On Linux each container gets namespaces of its own, so that its root directory, mounts,
// user, networks, names and ports are those that the files say, and nothing is rewritten. What
// it does not prove is what only an engine does: pulling and building the base images, and
// limits on memory and processes.
package deploy
