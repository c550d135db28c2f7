//! Playbooks: a trigger, steps in order, and runs that are recorded.
