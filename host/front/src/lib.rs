//! The HTTP front: the native API, dialect mounts, the page, health and metrics.
