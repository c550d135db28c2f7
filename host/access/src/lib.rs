//! Organisations, keys, principals, request signing, sealed secrets and the audit log.
