//! The playbooks of `examples/playbooks/`, run as they are.
