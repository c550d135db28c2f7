//! The only crate that names the contract: bindings, the registry, grants; answers plugins' imports and serves their roles.
